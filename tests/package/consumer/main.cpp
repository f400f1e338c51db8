// The first of two translation units that include the same headers: they must link into one program. A model with this
// program's own loss and merge trains, is saved, is loaded and generates.
#include <cstdio>
#include <vector>

#include <strata/cpu.hpp>
#include <strata/strata.hpp>

#include "parts.hpp"

#if defined(EXPECT_ONEDNN) != defined(STRATA_HAS_ONEDNN)
#error "the choice of oneDNN did not reach the user"
#endif

int second();

inline constexpr strata::basic_description<mine::linear_merge> model{
    .max_length = 32,
    .depth = 2,
    .merge = {.bias = false},
    .levels = {{.dim = 16, .heads = 2, .head_dim = 8, .window = 8},
               {.compression = 2, .dim = 16, .heads = 2, .head_dim = 8, .window = 8}}};
using learns = strata::losses<strata::reconstruction, mine::smoothness>;

int main() {
  strata::cpu backend({.threads = 1});
  learns losses;
  losses.get<mine::smoothness>() = {.weight = 0.2, .finest_too = true};
  strata::trainer<model, strata::cpu, learns> trainer(backend, {.batch = 4, .schedule = {.steps = 20}}, losses);
  std::vector<std::uint8_t> text(2000);
  for (std::size_t n = 0; n < text.size(); ++n) text[n] = static_cast<std::uint8_t>("strata "[n % 7]);
  double first = 0, last = 0;
  while (trainer.step() < 20) {
    last = trainer.train_step(text).loss.total;
    if (trainer.step() == 1) first = last;
  }
  trainer.save("checkpoint.safetensors");

  strata::transformer<model, strata::cpu, strata::inference> loaded(backend);
  strata::load_weights(loaded, "checkpoint.safetensors");
  strata::generator writer(loaded);
  const std::vector<std::vector<strata::token>> prompts{{'s', 't'}};
  int count = 0;
  writer.generate(prompts, 10, {}, [&](auto, auto) { ++count; });
  std::printf("strata works from another project: the loss fell from %.3f to %.3f\n", first, last);
  return second() == 2 && last < first && count == 10 ? 0 : 1;
}
