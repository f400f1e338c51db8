// The device cpu, and its peaks on all threads of a backend.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include <strata/cpu.hpp>

#include "measuring.hpp"

namespace measuring {

namespace vector = strata::kernels::baseline::vector;

struct cpu_device {
  using backend_type = strata::cpu;
  struct setup {
    const char* name;
    strata::cpu_options options;
  };
  static constexpr setup standard{"", {}}, own{"/own", {.products = strata::matrix_products::own}};
  static constexpr setup of_products[] = {standard, own}, of_attention[] = {standard};

  /// The backend of a setup, which all benchmarks share.
  static strata::cpu& open(const setup& chosen) {
    static std::map<std::string, strata::cpu> opened;
    return opened.try_emplace(chosen.name, chosen.options).first->second;
  }
  static void wait(strata::cpu&) {}  // its operations are done when they return

  /// FLOP/s of multiply-adds in registers, on all threads of the backend. Measured at every call, since other programs
  /// may slow a call down. The best so far counts.
  static double peak_flops(strata::cpu& backend) {
    static std::map<int, double> known;
    double& peak = known[backend.threads()];
    using vector::floats;
    constexpr int chains = 12, rounds = 2'000'000;
    std::vector<float> results(static_cast<std::size_t>(16 * backend.threads()));
    const double seconds = fastest([&] {
      backend.pool().run([&](int thread) {
        floats total[chains], factor = vector::all(0.999f), term = vector::all(0.001f);
        for (int c = 0; c < chains; ++c)
          total[c] = vector::all(static_cast<float>(c));  // equal chains would be computed once
        for (int n = 0; n < rounds; ++n) {
          vector::pin(factor);
          STRATA_UNROLL
          for (int c = 0; c < chains; ++c) total[c] = total[c] * factor + term;
        }
        for (int c = 1; c < chains; ++c) total[0] += total[c];
        results[static_cast<std::size_t>(16 * thread)] = vector::sum(total[0]);
      });
    });
    return peak = std::max(peak, 2.0 * chains * rounds * vector::lanes * backend.threads() / seconds);
  }

  /// Bytes a second of a copy, read and written together, that moves `bytes` in all. Small amounts stay in a cache. The
  /// best of all calls counts.
  static double bandwidth(strata::cpu& backend, double bytes) {
    static std::map<std::pair<int, long>, double> known;
    double& rate = known[{backend.threads(), static_cast<long>(bytes)}];
    const auto count = static_cast<index_type>(bytes / 2 / sizeof(float));
    strata::buffer<float> from(count), to(count);
    const double seconds = fastest([&] {
      backend.pool().run([&](int thread) {
        const index_type begin = count * thread / backend.threads(), end = count * (thread + 1) / backend.threads();
        vector::for_each(end - begin, [&](index_type n, auto load, auto store) {
          store(to.data() + begin + n, load(from.data() + begin + n));
        });
      });
    });
    return rate = std::max(rate, bytes / seconds);
  }

  /// Bytes a second of reading `bytes` of weights, as decoding does.
  static double read_bandwidth(strata::cpu& backend, double bytes) {
    const auto count = static_cast<index_type>(bytes / sizeof(float));
    strata::buffer<float> from(count);
    std::vector<float> results(static_cast<std::size_t>(16 * backend.threads()));
    const double seconds = fastest([&] {
      backend.pool().run([&](int thread) {
        const index_type begin = count * thread / backend.threads(), end = count * (thread + 1) / backend.threads();
        vector::floats total[4]{};
        for (index_type n = begin; n + 4 * vector::lanes <= end; n += 4 * vector::lanes)
          for (int c = 0; c < 4; ++c) total[c] += vector::load(from.data() + n + c * vector::lanes);
        results[static_cast<std::size_t>(16 * thread)] = vector::sum(total[0] + total[1] + total[2] + total[3]);
      });
    });
    return bytes / seconds;
  }
};

}  // namespace measuring
