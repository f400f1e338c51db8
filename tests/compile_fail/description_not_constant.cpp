// expect: strata: a description must be a constant: inline constexpr strata::description name{..};
#include <strata/reference.hpp>

strata::description broken{.levels = {{.dim = 64}}};

using backend = strata::reference<float>;
strata::trainer<broken, backend>* trainer = new strata::trainer<broken, backend>(*new backend);
