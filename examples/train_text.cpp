// Trains a hierarchical transformer on the bytes of a file. This file reads the options. See README.md, or
// `train_text --help`.
#include "train_text.hpp"

#include <limits>
#include <vector>

#include "training_options.hpp"

using examples::whole_number, examples::positive_number, examples::number_below_1;

int main(int argc, char** argv) {
  strata::keep_freed_memory();
  train_text::program_options options;
  strata::training_options& training = options.training = strata::quick_training;
  CLI::App app("Trains a hierarchical transformer on the bytes of a file.", "train_text");
  // Options that a resumed run keeps, by their names in for_each_option and in a checkpoint's note.
  examples::option_map kept;
  const auto add_kept = [&](const char* name, const char* flag, auto& value, const char* text) {
    return kept[name] = app.add_option(flag, value, text)->capture_default_str()->group("Training");
  };
  const auto add = [&](const char* flag, auto& value, const char* text) {
    return app.add_option(flag, value, text)->capture_default_str()->group("Reports");
  };

  app.add_option("--text", options.text, "the file to learn")->required()->type_name("FILE");
  app.add_option("--out", options.out, "for checkpoint, weights and metrics")
      ->type_name("FOLDER")
      ->capture_default_str();
  app.add_option("--model", options.model,
                 "one of:" + examples::model_names() +
                     "; without it, --resume takes the run's, --seconds a model and options that fit the time")
      ->default_str(examples::model_without_seconds);
  app.add_flag("--resume", options.resume, "continue the run in --out; a larger --steps or --seconds lengthens it");
  app.add_flag("--overwrite", options.overwrite, "replace the run in --out");

  add_kept("steps", "--steps", training.schedule.steps, "training steps")->check(whole_number(1));
  kept["seconds"] = app.add_option("--seconds", options.seconds, "train for about this long instead")
                        ->excludes(kept["steps"])
                        ->check(positive_number())
                        ->group("Training");
  kept.merge(examples::add_training_options(app, training));
  std::vector<std::string> losses;
  auto* loss_option = app.add_option("--loss", losses, "weight of a loss, as in reconstruction=0; may be repeated")
                          ->allow_extra_args(false)
                          ->type_name("NAME=WEIGHT")
                          ->group("Training");
  add_kept("seed", "--seed", training.seed, "of the weights, the batches and dropout")
      ->check(whole_number(0, std::numeric_limits<std::uint64_t>::max()));
  add_kept("validation_fraction", "--validation-fraction", options.validation_fraction,
           "part of the text, at its end, that is not trained on")
      ->check(number_below_1());
  app.add_flag("--recompute", options.recompute, "use less memory and more time; the result is the same")
      ->group("Training");

  add("--evaluate-every", options.evaluate_every, "steps between evaluations; 0: only at the end")
      ->check(whole_number(0));
  app.add_option("--evaluate-windows", options.evaluate_windows,
                 "windows in an evaluation; 0: all (default: 64, and 256 at the end)")
      ->check(whole_number(0))
      ->group("Reports");
  add("--sample-every", options.sample_every, "steps between samples; 0: only at the end")->check(whole_number(0));
  add("--sample-length", options.sample_length, "bytes in a sample")->check(whole_number(0, examples::longest_text));
  app.add_option("--prompt", options.prompt, "text that samples continue (default: a line break)")->group("Reports");
  add("--checkpoint-every", options.checkpoint_every, "steps between checkpoints; 0: only at the end")
      ->check(whole_number(0));

  examples::add_device_options(app, options.device);
  app.add_option("--products", options.device.products, "library for matrix products on the device cpu")
      ->check(CLI::IsMember({"automatic", "own", "onednn"}))
      ->capture_default_str()
      ->group("Device");
  app.add_option(
         "--precision", options.device.precision,
         "number format of the inputs of matrix products: float32, bfloat16, bfloat16_emulated (cpu), tf32 (cuda)")
      ->capture_default_str()
      ->group("Device");

  return examples::run_program(app, argc, argv, [&] {
    for (const std::string& loss : losses) {
      const auto equals = loss.find('=');
      double weight = 0;
      strata::require(equals != std::string::npos && CLI::detail::lexical_cast(loss.substr(equals + 1), weight),
                      "--loss expects NAME=WEIGHT, not '", loss, "'");
      const bool first = options.loss_weights.emplace(loss.substr(0, equals), weight).second;
      strata::require(first, "--loss gives the weight of '", loss.substr(0, equals), "' twice");
    }
    strata::require(!options.out.empty(), "--out must not be empty");
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
