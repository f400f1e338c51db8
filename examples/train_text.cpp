// Trains a hierarchical transformer on the bytes of a file. This file reads the options. See README.md, or
// `train_text --help`.
#include "train_text.hpp"

#include <limits>
#include <vector>

#include "training_options.hpp"

using examples::whole_number, examples::positive_number, examples::number_below_1;

int main(int argc, char** argv) {
  strata::keep_freed_memory();
  examples::allow_many_files();
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

  const auto add_text = [&](const char* flag, auto& value, const char* text) {
    return app.add_option(flag, value, text)->group("Texts");
  };
  add_text("--text", options.text.training,
           "what to learn: a file, a folder, a pattern such as 'books/*.txt', @ and a file with such names, - for "
           "standard input; may be repeated")
      ->required()
      ->type_name("NAME")
      ->allow_extra_args(false);
  add_text("--weight", options.text.weights, "how often rows are of each --text, relative to the others; one for each")
      ->check(positive_number())
      ->allow_extra_args(false);
  const auto add_text_kind = [&]<class Kind>(const char* flag, const char* text, Kind kind, auto& value) {
    const auto names = names_of(kind);
    const auto read = [&value, flag](const std::string& given) {
      Kind chosen{};
      strata::field_from_json(given, flag, "train_text", chosen);
      value = chosen;
    };
    return app.add_option_function<std::string>(flag, read, text)
        ->check(CLI::IsMember(std::vector<std::string>(names.begin(), names.end())))
        ->group("Texts");
  };
  add_text_kind("--tokens", "what the files hold; llm.c's header is recognised", options.text.format,
                options.text.format)
      ->default_str("bytes");
  add_text_kind("--documents", "what ends a document, which no row crosses (default: files, if there are several)",
                strata::document_ends(), options.text.documents);
  add_text("--tokenizer", options.text.tokenizer,
           "model file of SentencePiece; the texts become its tokens, or hold them already, with --tokens")
      ->type_name("FILE");
  auto* separator = add_text("--separator", options.text.separator, "token that ends a document")
                        ->check(whole_number(0, std::numeric_limits<strata::token>::max()));
  auto* own_validation = add_text("--validation", options.text.validation, "validate on these instead; as --text")
                             ->type_name("NAME")
                             ->allow_extra_args(false);
  auto* whole_documents =
      app.add_flag("--validation-documents", options.text.validation_documents,
                   "--validation-fraction is of whole documents, chosen by a hash, instead of the end of the text")
          ->group("Texts");
  app.add_option("--out", options.out, "for checkpoint, weights and metrics")
      ->type_name("FOLDER")
      ->capture_default_str();
  app.add_option("--model", options.model,
                 "one of:" + examples::model_names() +
                     "; without it, --resume takes the run's, --from the file's, --tokenizer the first one with its "
                     "vocabulary, --seconds a model and options that fit the time")
      ->default_str(examples::model_without_seconds);
  auto* from = app.add_option("--from", options.from, "start with these weights, as the reference package has them too")
                   ->type_name("FILE");
  app.add_flag("--matching", options.matching, "take only the weights of --from that fit, and say which do not")
      ->needs(from);
  app.add_flag("--resume", options.resume, "continue the run in --out; a larger --steps or --seconds lengthens it");
  app.add_flag("--overwrite", options.overwrite, "replace the run in --out");

  add_kept("steps", "--steps", training.schedule.steps, "training steps")->check(whole_number(1));
  kept["seconds"] = app.add_option("--seconds", options.seconds, "train for about this long instead")
                        ->excludes(kept["steps"])
                        ->check(positive_number())
                        ->group("Training");
  kept.merge(examples::add_training_options(app, training));
  std::vector<std::string> frozen, rates, decays;
  const auto add_group = [&](const char* flag, auto& value, const char* type, const char* text) {
    app.add_option(flag, value, text)->allow_extra_args(false)->type_name(type)->group("Training");
  };
  add_group("--freeze", frozen, "PATTERN", "parameters that stay, by name, as in 'layers.0.*'; may be repeated");
  add_group("--rate", rates, "PATTERN=FACTOR", "learning rate of the parameters of this name; may be repeated");
  add_group("--weight-decay-of", decays, "PATTERN=RATE",
            "weight decay of the parameters of this name; may be repeated");
  std::vector<std::string> losses;
  auto* loss_option = app.add_option("--loss", losses, "weight of a loss, as in reconstruction=0; may be repeated")
                          ->allow_extra_args(false)
                          ->type_name("NAME=WEIGHT")
                          ->group("Training");
  add_kept("seed", "--seed", training.seed, "of the weights, the batches and dropout")
      ->check(whole_number(0, std::numeric_limits<std::uint64_t>::max()));
  add_kept("validation_fraction", "--validation-fraction", options.text.validation_fraction,
           "part of the text, at its end, that is not trained on")
      ->check(number_below_1());
  app.add_flag("--recompute", options.recompute, "use less memory and more time; the result is the same")
      ->group("Training");

  app.add_flag("--noise-scale", options.noise_scale,
               "add the gradient noise scale to the metrics: the tokens a step beyond which more bring little")
      ->group("Reports");
  add("--evaluate-every", options.evaluate_every, "steps between evaluations; 0: only at the end")
      ->check(whole_number(0));
  app.add_option("--evaluate-windows", options.evaluate_windows,
                 "windows in an evaluation; 0: all (default: 64, and 256 at the end)")
      ->check(whole_number(0))
      ->group("Reports");
  add("--sample-every", options.sample_every, "steps between samples; 0: only at the end")->check(whole_number(0));
  add("--sample-length", options.sample_length, "bytes, or tokens, in a sample")
      ->check(whole_number(0, examples::longest_text));
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
    const auto name_and_number = [](const char* flag, const char* expected, const std::string& given) {
      const auto equals = given.rfind('=');
      double number = 0;
      strata::require(equals != std::string::npos && CLI::detail::lexical_cast(given.substr(equals + 1), number), flag,
                      " expects ", expected, ", not '", given, "'");
      return std::pair(given.substr(0, equals), number);
    };
    for (const std::string& loss : losses) {
      const auto [name, weight] = name_and_number("--loss", "NAME=WEIGHT", loss);
      strata::require(options.loss_weights.emplace(name, weight).second, "--loss gives the weight of '", name,
                      "' twice");
    }
    // A parameter may be in several: its group has what each of them says.
    for (const std::string& pattern : frozen) options.groups.push_back({.pattern = pattern, .frozen = true});
    for (const std::string& rate : rates) {
      const auto [pattern, factor] = name_and_number("--rate", "PATTERN=FACTOR", rate);
      options.groups.push_back({.pattern = pattern, .rate = factor});
    }
    for (const std::string& decay : decays) {
      const auto [pattern, factor] = name_and_number("--weight-decay-of", "PATTERN=RATE", decay);
      options.groups.push_back({.pattern = pattern, .weight_decay = factor});
    }
    strata::require(options.groups.empty() || !options.resume,
                    "a resumed run keeps its groups of parameters: leave out --freeze, --rate and --weight-decay-of");
    strata::require(options.from.empty() || !options.resume, "--from and --resume contradict each other");
    strata::require(!options.out.empty(), "--out must not be empty");
    const auto contradict = [](const CLI::Option* one, const CLI::Option* other) {
      strata::require(one->count() == 0 || other->count() == 0, one->get_name(), " and ", other->get_name(),
                      " contradict each other");
    };
    contradict(own_validation, kept.at("validation_fraction"));
    contradict(own_validation, whole_documents);
    const bool separated = options.text.documents == strata::document_ends::separators;
    strata::require(separated == (separator->count() > 0), "--documents separators and --separator belong together");
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
