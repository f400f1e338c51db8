// expect: strata: a model whose boundaries follow the text learns by cross_entropy, and by boundary_ratio_loss if
#include <strata/reference.hpp>
#include <strata/strata.hpp>

inline constexpr strata::description words{
    .depth = 4,
    .levels = {{.dim = 64, .before = 1, .after = 1},
               {.compression = 4, .stride = 4, .dim = 64, .boundaries = strata::boundaries::word_starts}}};

strata::reference<float> backend;
strata::trainer<words, strata::reference<float>> trainer(backend);
