// Trains a hierarchical transformer on the bytes of a file: its options. See README.md, or `train_text --help`.
#include "train_text.hpp"

#include <limits>
#include <map>
#include <vector>

#include "program.hpp"

using examples::whole_number, examples::positive_number, examples::number_from_0, examples::number_below_1;

int main(int argc, char** argv) {
  strata::keep_freed_memory();
  train_text::program_options options;
  strata::training_options& training = options.training;
  training.batch = 4;
  CLI::App app("Trains a hierarchical transformer on the bytes of a file.", "train_text");
  app.add_option("--text", options.text, "the file to learn")->required();
  app.add_option("--out", options.out, "folder for checkpoint, weights and metrics")->capture_default_str();
  app.add_option("--model", options.model, "one of:" + examples::model_names())->capture_default_str();
  app.add_flag("--resume", options.resume, "continue the run in --out, bit for bit");
  app.add_flag("--overwrite", options.overwrite, "replace the run in --out");
  std::map<std::string, CLI::Option*> kept;  // by the names of for_each_option, and what a run keeps beside
  kept["steps"] = app.add_option("--steps", training.schedule.steps, "steps to train")
                      ->check(whole_number(1))
                      ->capture_default_str();
  kept["seconds"] = app.add_option("--seconds", options.seconds, "train about this long instead")
                        ->excludes(kept["steps"])
                        ->check(positive_number());
  kept["batch"] =
      app.add_option("--batch", training.batch, "texts a pass")->check(whole_number(1))->capture_default_str();
  kept["length"] = app.add_option("--length", training.length, "bytes a text (default: the model's max_length)")
                       ->check(whole_number(1));
  kept["accumulation"] = app.add_option("--accumulation", training.accumulation, "passes a step")
                             ->check(whole_number(1))
                             ->capture_default_str();
  kept["learning_rate"] = app.add_option("--learning-rate", training.schedule.peak, "after the warm-up")
                              ->check(positive_number())
                              ->capture_default_str();
  kept["warmup"] = app.add_option("--warmup", training.schedule.warmup, "steps of warm-up")
                       ->check(whole_number(0))
                       ->capture_default_str();
  kept["final_fraction"] =
      app.add_option("--final-fraction", training.schedule.final_fraction, "of the learning rate, at the last step")
          ->check(number_from_0())
          ->capture_default_str();
  kept["decoupled"] =
      app.add_option("--optimizer", options.optimizer)->check(CLI::IsMember({"adamw", "adam"}))->capture_default_str();
  kept["weight_decay"] =
      app.add_option("--weight-decay", training.weight_decay)->check(number_from_0())->capture_default_str();
  kept["max_norm"] = app.add_option("--clip", training.max_norm, "largest norm of the gradient; 0: none")
                         ->check(number_from_0())
                         ->capture_default_str();
  kept["beta1"] = app.add_option("--beta1", training.beta1)->check(number_below_1())->capture_default_str();
  kept["beta2"] = app.add_option("--beta2", training.beta2)->check(number_below_1())->capture_default_str();
  kept["epsilon"] = app.add_option("--epsilon", training.epsilon)->check(positive_number())->capture_default_str();
  kept["seed"] = app.add_option("--seed", training.seed, "of weights and data order")
                     ->check(whole_number(0, std::numeric_limits<std::uint64_t>::max()))
                     ->capture_default_str();
  std::vector<std::string> losses;
  auto* loss_option = app.add_option("--loss", losses, "NAME=WEIGHT, such as reconstruction=0; may be repeated");
  kept["validation_fraction"] =
      app.add_option("--validation-fraction", options.validation_fraction, "the end of the text, never trained on")
          ->check(number_below_1())
          ->capture_default_str();
  app.add_option("--evaluate-every", options.evaluate_every, "steps; 0: never")
      ->check(whole_number(0))
      ->capture_default_str();
  app.add_option("--evaluate-windows", options.evaluate_windows, "windows an evaluation; 0: all")
      ->check(whole_number(0))
      ->capture_default_str();
  app.add_option("--sample-every", options.sample_every, "steps; 0: never")
      ->check(whole_number(0))
      ->capture_default_str();
  app.add_option("--sample-length", options.sample_length, "bytes")->check(whole_number(0))->capture_default_str();
  app.add_option("--prompt", options.prompt, "what samples continue (default: a line break)");
  app.add_option("--checkpoint-every", options.checkpoint_every, "steps; 0: at the end only")
      ->check(whole_number(0))
      ->capture_default_str();
  app.add_flag("--recompute", options.recompute, "keep less for the backward pass: less memory, more time, same bits");
  examples::add_device_options(app, options.device);
  app.add_option("--products", options.device.products, "library for matrix products of the device cpu")
      ->check(CLI::IsMember({"automatic", "eigen", "onednn"}))
      ->capture_default_str();
  app.add_option("--precision", options.device.precision,
                 "of what products multiply; they add in float32. cpu: float32, bfloat16 or bfloat16_emulated; cuda: "
                 "float32, tf32 or bfloat16")
      ->capture_default_str();

  return examples::run_program(app, argc, argv, [&] {
    training.decoupled = options.optimizer == "adamw";
    for (const std::string& loss : losses) {
      const auto equals = loss.find('=');
      double weight = 0;
      strata::require(equals != std::string::npos && CLI::detail::lexical_cast(loss.substr(equals + 1), weight),
                      "--loss expects NAME=WEIGHT, not '", loss, "'");
      options.loss_weights[loss.substr(0, equals)] = weight;
    }
    strata::require(!options.prompt.empty(), "--prompt must not be empty");
    strata::require(!(options.resume && options.overwrite), "--resume and --overwrite contradict each other");
    strata::require(!(options.resume && loss_option->count() > 0),
                    "a resumed run keeps its loss weights: leave out --loss");
    examples::require_device(app, options.device);
    train_text::given_options given;
    for (const auto& [name, option] : kept)
      if (option->count() > 0) given[name] = option->get_name();

    examples::catch_interrupts();
    if constexpr (examples::has_cuda)
      if (options.device.name == "cuda") return train_text::on_cuda(options, given);
    return train_text::on_cpu(options, given);
  });
}
