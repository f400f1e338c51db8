// What the example programs share: errors as one line and an exit code, checks of options, the options of devices.
#pragma once

#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <functional>
#include <iostream>
#include <limits>
#include <string>

#include <strata/core/error.hpp>

#include "console.hpp"
#include "device.hpp"

namespace examples {

/// Parses the command line, runs `body` and turns every failure into one line on standard error and exit code 1.
template <class Body>
int run_program(CLI::App& app, int argc, char** argv, Body body) {
  // A file that grows past a limit is an error of the write, not the end of the program.
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    app.parse(argc, argv);
    return body();
  } catch (const CLI::ParseError& problem) {
    return app.exit(problem);
  } catch (const std::bad_alloc&) {
    std::cerr << app.get_name() << ": error: out of memory\n";
  } catch (const std::exception& problem) {
    std::cerr << app.get_name() << ": error: " << problem.what() << '\n';
  }
  return 1;
}

/// Accepts whole numbers from `least` to `most`. CLI11 alone takes -1 for a huge number, and cuts off what is too large.
inline CLI::Validator whole_number(std::uint64_t least, std::uint64_t most = 1'000'000'000'000) {
  const auto check = [least, most](const std::string& given) {
    std::uint64_t value = 0;
    const char* const end = given.data() + given.size();
    const auto [stop, problem] = std::from_chars(given.data(), end, value);
    if (problem == std::errc() && stop == end && value >= least && value <= most) return std::string();
    return strata::to_text("expects a whole number from ", least, " to ", most, ", not '", given, "'");
  };
  return {check, ""};
}

/// Accepts finite numbers that `fit`; `expected` says in words what they are.
inline CLI::Validator number(const char* expected, std::function<bool(double)> fit) {
  const auto check = [expected, fit](const std::string& given) {
    char* stop = nullptr;
    const double value = std::strtod(given.c_str(), &stop);
    if (!given.empty() && *stop == '\0' && std::isfinite(value) && fit(value)) return std::string();
    return strata::to_text("expects ", expected, ", not '", given, "'");
  };
  return {check, ""};
}
inline CLI::Validator positive_number(double most = std::numeric_limits<double>::max()) {
  return number("a positive number", [most](double value) { return value > 0 && value <= most; });
}
inline CLI::Validator number_from_0() {
  return number("a number that is not negative", [](double value) { return value >= 0; });
}
inline CLI::Validator number_below_1() {
  return number("a number from 0 to below 1", [](double value) { return value >= 0 && value < 1; });
}

/// Adds the options that choose where a program computes.
inline void add_device_options(CLI::App& app, device_options& options) {
  app.add_option("--device", options.name,
                 has_cuda ? "where to compute" : "where to compute; this program has cpu alone")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  app.add_option("--threads", options.threads, "of the device cpu; 0: one a processor")
      ->check(whole_number(0, 1024))
      ->capture_default_str();
}

/// Fails where this program lacks the device that was asked for, or where options were given that belong to another.
inline void require_device(const CLI::App& app, const device_options& options) {
  if (options.name == "cpu") return;
  strata::require(has_cuda, "--device ", options.name,
                  ": this program was built without CUDA; the preset cuda-release, or ",
                  "-DSTRATA_CUDA=ON when configuring, builds it with CUDA");
  for (const char* name : {"--threads", "--products"}) {
    const CLI::Option* const option = app.get_option_no_throw(name);
    strata::require(option == nullptr || option->count() == 0, name, " belongs to --device cpu, not to --device ",
                    options.name);
  }
}

}  // namespace examples
