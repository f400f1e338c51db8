// For the benchmarks of every device. A device is a struct like `cpu_device`: its backend, the setups to measure, how
// to wait for its operations, and its peaks, which are measured in the same run as the operations.
#pragma once

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include <strata/strata.hpp>

namespace measuring {

using strata::index_type;

/// Seconds of one call of `work`: the fastest of several, since other programs can only make it slower.
template <class Work>
double fastest(Work work, int repetitions = 9) {
  double best = 1e30;
  for (int n = 0; n < repetitions; ++n) {
    const auto start = std::chrono::steady_clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

/// The time of `second` over that of `first`. They alternate, so other programs slow down both. The first calls touch
/// all memory and do not count.
template <class State, class First, class Second>
void compare_in_turn(State& state, First first, Second second) {
  first();
  second();
  std::vector<double> ratios;
  while (state.KeepRunning()) {
    const double before = fastest(first, 1);
    ratios.push_back(fastest(second, 1) / before);
  }
  std::sort(ratios.begin(), ratios.end());
  state.counters["median"] = ratios[ratios.size() / 2];
  state.counters["lower_quartile"] = ratios[ratios.size() / 4];
  state.counters["upper_quartile"] = ratios[ratios.size() * 3 / 4];
}

/// `count` calls of an operation, one after the other. They are done when `run` returns. On a device a launch and a
/// wait can take longer than the operation. There the calls are recorded and launched together, as in a training step,
/// with one wait.
template <class Device, class Operation>
class repeated {
 public:
  static constexpr bool records = !strata::computes_at_once<typename Device::backend_type>;
  static constexpr index_type count = records ? 100 : 1;

  repeated(typename Device::backend_type& backend, Operation operation)
      : backend_(backend), operation_(std::move(operation)) {
    for (int n = 0; records && n < 2; ++n) run();  // the first chooses algorithms and allocates, the second is recorded
  }
  void run() {
    recorded_.run(backend_, 0, [this] {
      for (index_type n = 0; n < count; ++n) operation_();
    });
    Device::wait(backend_);
  }

 private:
  typename Device::backend_type& backend_;
  Operation operation_;
  strata::recording<typename Device::backend_type, int> recorded_;
};

/// Token ids, of 256 different ones.
inline std::vector<strata::token> some_tokens(index_type count) {
  std::vector<strata::token> ids(static_cast<std::size_t>(count));
  for (std::size_t n = 0; n < ids.size(); ++n) ids[n] = static_cast<strata::token>(n * 7919 % 256);
  return ids;
}

/// Memory of the backend with random numbers in [-1, 1].
template <class Backend>
auto random_floats(Backend& backend, index_type count) {
  const strata::random_source random(1);
  std::vector<float> host(static_cast<std::size_t>(count));
  for (std::size_t n = 0; n < host.size(); ++n) host[n] = static_cast<float>(2 * random.uniform(0, n) - 1);
  typename Backend::template storage<float> values(count);
  upload(backend, strata::view<const float, 1>{host.data(), {count}}, values.view());
  return values;
}

}  // namespace measuring
