// expect: strata: this merge attends to positions of levels, so their boundaries cannot follow the text
#include <strata/reference.hpp>

inline constexpr strata::basic_description<strata::level_attention> broken{
    .depth = 4,
    .levels = {{.dim = 64}, {.compression = 4, .stride = 4, .dim = 64, .boundaries = strata::boundaries::lines}}};

int main() {
  strata::reference<float> backend;
  strata::transformer<broken, strata::reference<float>, strata::losses<>> model(backend);
}
