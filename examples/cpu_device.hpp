// The device cpu of the example programs.
#pragma once

#include <string>
#include <unistd.h>

#include <strata/cpu.hpp>

#include "console.hpp"
#include "device.hpp"

namespace examples {

struct cpu_device {
  using backend = strata::cpu;
  static constexpr const char* name = "cpu";

  static strata::cpu open(const device_options& options) {
    using products = strata::matrix_products;
    using precision = strata::product_precision;
    return strata::cpu({.threads = options.threads,
                        .products = named<products>(
                            {{"automatic", products::automatic}, {"own", products::own}, {"onednn", products::onednn}},
                            options.products, "--products", name),
                        .precision = named<precision>({{"float32", precision::float32},
                                                       {"bfloat16", precision::bfloat16},
                                                       {"bfloat16_emulated", precision::bfloat16_emulated}},
                                                      options.precision, "--precision", name)});
  }
  static int threads(const strata::cpu& backend) { return backend.threads(); }
  static std::string description(const strata::cpu& backend) { return counted(backend.threads(), "thread"); }
  static std::string message(const strata::cpu& backend) { return backend.message(); }
  /// Bytes that a run may need. Linux grants more memory than it has and kills the program that uses it, so programs
  /// check first.
  static double memory() {
    return static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  }
};

}  // namespace examples
