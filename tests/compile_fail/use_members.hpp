// Uses the members of a model: description `broken`, losses `learns`. None of them may add an error to the broken rule's.
#pragma once

void use(strata::reference<float>& backend, strata::trainer<broken, strata::reference<float>, learns>& trainer) {
  const std::vector<std::uint8_t> text(100);
  strata::trainer<broken, strata::reference<float>, learns> own(backend, {.batch = 2});
  if (own.train_step(text).loss.total > 0) trainer.save("checkpoint");
  trainer.model().set_losses(own.losses());
  strata::transformer<broken, strata::reference<float>, strata::inference> model(backend);
  strata::load_weights(model, "checkpoint");
  strata::generator writer(model);
  const std::vector<std::vector<strata::token>> prompts{{1}};
  writer.generate(prompts, 3, {}, [](auto, auto) {});
}
