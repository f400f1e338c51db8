// Calls train.cpp and generate.cpp, whichever is linked. It has the flags of generate.cpp.
#include <cstdio>
#include <vector>

#include <strata/core/error.hpp>
#include <strata/core/view.hpp>

__attribute__((weak)) void train();
__attribute__((weak)) void train_wrongly();
__attribute__((weak)) void generate(strata::view<const strata::token, 1> ids);

int main() {
  if (train) {
    train();
    try {
      train_wrongly();
    } catch (const strata::error& problem) {  // the one class that files with different flags share
      std::printf("%s\n", problem.what());
    }
  }
  if (generate) {
    std::vector<strata::token> ids;
    for (strata::token n = 0; n < 40; ++n) ids.push_back(n * 31 % 256);
    generate({ids.data(), {40}});
  }
}
