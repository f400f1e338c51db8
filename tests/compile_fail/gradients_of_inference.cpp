// expect: gradients
#include <strata/reference.hpp>

using backend = strata::reference<float>;

void ask(strata::transformer<strata::presets::small, backend, strata::inference>& model) { model.gradients(); }
