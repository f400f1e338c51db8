// expect: strata: this backend lacks the operation 'attention_backward'
#include <strata/reference.hpp>

struct partial : strata::reference<float> {};
void attention_backward(partial&, const strata::attention_shape&, strata::input<float, 3>, strata::input<float, 2>,
                        strata::input<float, 2>, strata::input<float, 3>, strata::input<float, 2>,
                        strata::output<float, 2>) = delete;

void use(partial& backend) {
  const std::vector<std::uint8_t> text(100);
  strata::trainer<strata::presets::small, partial> own(backend, {.batch = 2});
  if (own.train_step(text).loss.total > 0) own.save("checkpoint");
  own.resume("checkpoint");
  own.evaluate(text);
  strata::transformer<strata::presets::small, partial, strata::inference> model(backend);
  strata::load_weights(model, "checkpoint");
  strata::generator writer(model);
  const std::vector<std::vector<strata::token>> prompts{{1}};
  writer.generate(prompts, 3, {}, [](auto, auto) {});
}
