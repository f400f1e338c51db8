// Counter-based random numbers: every number is a function of (seed, stream, counter) alone. So a resumed run, another
// thread count or a recomputation draws the same values.
// Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (Philox 4x32, 10 rounds).
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>

#include <strata/core/platform.hpp>

namespace strata::inline STRATA_ABI {

/// Rounds of Philox, the factors of its counter and the steps of its key.
struct philox_constants {
  static constexpr int rounds = 10;
  static constexpr std::uint32_t factors[] = {0xD2511F53u, 0xCD9E8D57u}, steps[] = {0x9E3779B9u, 0xBB67AE85u};
};

/// One block of four words of Philox 4x32-10.
constexpr std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < philox_constants::rounds; ++round) {
    const std::uint64_t product0 = std::uint64_t{philox_constants::factors[0]} * counter[0];
    const std::uint64_t product1 = std::uint64_t{philox_constants::factors[1]} * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(product0)};
    key[0] += philox_constants::steps[0];
    key[1] += philox_constants::steps[1];
  }
  return counter;
}

/// The random numbers of one seed. `stream` separates independent uses, `counter` numbers the draws of one use.
class random_source {
 public:
  constexpr explicit random_source(std::uint64_t seed) : seed_(seed) {}
  constexpr std::uint64_t seed() const { return seed_; }

  constexpr std::array<std::uint32_t, 4> words(std::uint64_t stream, std::uint64_t counter) const {
    return philox({static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32),
                   static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)},
                  {static_cast<std::uint32_t>(seed_), static_cast<std::uint32_t>(seed_ >> 32)});
  }
  constexpr std::uint64_t bits(std::uint64_t stream, std::uint64_t counter) const {
    const auto block = words(stream, counter);
    return (std::uint64_t{block[1]} << 32) | block[0];
  }
  /// In (0, 1): never 0, so a logarithm is finite.
  constexpr double uniform(std::uint64_t stream, std::uint64_t counter) const {
    return (static_cast<double>(bits(stream, counter) >> 12) + 0.5) * 0x1p-52;
  }
  double normal(std::uint64_t stream, std::uint64_t counter) const {
    const double radius = std::sqrt(-2.0 * std::log(uniform(stream, 2 * counter)));
    return radius * std::cos(2.0 * std::numbers::pi * uniform(stream, 2 * counter + 1));
  }
  /// Gumbel-max sampling: add this noise to log probabilities; the largest sum is a draw from them.
  double gumbel(std::uint64_t stream, std::uint64_t counter) const {
    return -std::log(-std::log(uniform(stream, counter)));
  }
  /// A whole number in [0, bound); the bias of the modulus is below bound / 2^64.
  constexpr std::uint64_t below(std::uint64_t bound, std::uint64_t stream, std::uint64_t counter) const {
    return bits(stream, counter) % bound;
  }

 private:
  std::uint64_t seed_;
};

}  // namespace strata
