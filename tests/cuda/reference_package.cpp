// Every golden file through the whole cuda backend, and the same models generating token by token.
#include <strata/cuda.hpp>

#include "golden/check.hpp"
#include "support/incremental.hpp"

TEMPLATE_TEST_CASE("golden on the cuda backend", "", STRATA_GOLDEN_CASES) {
  strata::cuda backend;
  golden::check<TestType>(backend);
}

TEMPLATE_TEST_CASE("on the cuda backend, incremental logits equal those of the whole sequence", "", STRATA_GOLDEN_CASES,
                   models::mixed, models::routed_and_pooled, models::pooled_hourglass, models::attending_hourglass) {
  strata::cuda backend;
  models::check_incremental<TestType>(backend);
}
