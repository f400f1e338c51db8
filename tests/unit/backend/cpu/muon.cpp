// How the cpu backend shares out the matrices of muon among its threads.
#include <vector>

#include <strata/cpu.hpp>

#include "support/catch.hpp"
#include "support/numbers.hpp"

using strata::index_type, strata::matrix_place;

namespace {

/// What a step makes of places one after the other.
std::vector<double> weights_after_a_step(int threads, const std::vector<matrix_place>& places, bool normalised) {
  strata::cpu backend({.threads = threads});
  workbench bench(backend);
  const index_type size = places.back().offset + places.back().size();
  const auto gradient = bench.normal({size}), norm = bench.all(1, {1}), weight = bench.normal({size});
  const auto first = bench.normal({size}), second = bench.all(2, {size});
  muon(backend, {.normalised = normalised}, places, gradient, norm, weight, first, second);
  return bench.read(weight);
}

}  // namespace

TEST_CASE("muon gives the same bits with every number of threads") {
  // One, two and three threads share the largest differently; the last are small.
  const std::vector<matrix_place> places{{0, 10, 30},       {300, 150, 160}, {24300, 160, 150},
                                         {48300, 200, 230}, {94300, 7, 5},   {94335, 16, 16},
                                         {94591, 33, 20},   {95251, 20, 33}, {95911, 300, 160}};
  for (const bool normalised : {false, true}) {
    const std::vector<double> alone = weights_after_a_step(1, places, normalised);
    for (const int threads : {2, 3, 7}) {
      CAPTURE(threads, normalised);
      CHECK(weights_after_a_step(threads, places, normalised) == alone);
    }
  }
}

TEST_CASE("muon shares out its matrices") {
  const auto owners = [](const std::vector<matrix_place>& places, int threads) {
    std::vector<float> own(places.size()), loads(static_cast<std::size_t>(threads));
    strata::kernels::baseline::share_out({}, places, threads, own.data(), loads.data());
    return own;
  };
  const matrix_place small{0, 64, 64}, medium{0, 256, 256}, large{0, 512, 512};
  CHECK(owners({}, 2).empty());
  // The largest first, to the thread with the least work.
  CHECK(owners({small, small, small, small}, 2) == std::vector<float>{0, 1, 0, 1});
  CHECK(owners({small, medium, small, medium}, 2) == std::vector<float>{0, 0, 1, 1});
  // Where one thread would have much more than its share, all compute a matrix together; they would wait too long for a
  // small one.
  CHECK(owners({large, medium, medium}, 2) == std::vector<float>{2, 0, 1});
  CHECK(owners({large, large, large}, 2) == std::vector<float>{0, 1, 2});
  CHECK(owners({large}, 2) == std::vector<float>{2});
  CHECK(owners({small}, 2) == std::vector<float>{0});
  CHECK(owners({large, small}, 1) == std::vector<float>{0, 0});
}
