// Trains a hierarchical transformer on the bytes of a file. See README.md, or `train_text --help`.
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <map>
#include <unistd.h>
#include <vector>

#include <strata/cpu.hpp>

#include "models.hpp"
#include "program.hpp"
#include "run_files.hpp"
#include "step_estimate.hpp"

namespace {

namespace fs = std::filesystem;
using examples::bits, examples::fixed, examples::seconds_since;
using examples::fingerprint, examples::metrics_file, examples::run_folder, examples::steps_unknown;
using examples::interrupted, examples::whole_number, examples::positive_number, examples::number_from_0,
    examples::number_below_1;

struct program_options {
  std::string text, out = "runs/train_text", model = "demo", optimizer = "adamw", products = "automatic",
                    precision = "float32";
  std::string prompt = "\n";
  double seconds = 0, validation_fraction = 0.1;
  strata::index evaluate_every = 100, evaluate_windows = 64, sample_every = 500, sample_length = 400,
                checkpoint_every = 100;
  int threads = 0;
  bool resume = false, overwrite = false, recompute = false;
  strata::training_options training;
  std::map<std::string, double> loss_weights;
};

/// The options that stand on the command line: their names in the library, and as they are written there.
using given_options = std::map<std::string, std::string>;

template <class Config>
class training_run {
 public:
  training_run(const program_options& options, const given_options& given)
      : options_(options),
        text_(strata::text::load(options.text, options.validation_fraction)),
        backend_({.threads = options.threads,
                  .products = provider(options.products),
                  .precision = precision(options.precision)}),
        trainer_(backend_, options.training, loss_weights(options)),
        checkpoint_(fs::path(options.out) / "checkpoint.safetensors"),
        weights_(fs::path(options.out) / "weights.safetensors"),
        metrics_(fs::path(options.out) / "metrics.jsonl") {
    if (options_.resume)
      resume(given);
    else if (options_.seconds > 0)
      trainer_.set_steps(steps_unknown);
    text_.require_length(trainer_.options().length);
    require_memory();
    trainer_.model().recompute_activations(options_.recompute);
  }

  int run() {
    const run_folder folder(options_.out);
    if (options_.resume)
      metrics_.continue_after(trainer_.step(), trainer_.options().schedule.steps);
    else
      strata::require(
          options_.overwrite || !fs::exists(checkpoint_), checkpoint_,
          " holds a run already: --resume continues it, --overwrite replaces it, --out chooses another place");
    introduce();
    started_ = std::chrono::steady_clock::now();
    const strata::index first = trainer_.step();
    examples::step_estimate estimate(options_.seconds);
    while (trainer_.step() < trainer_.options().schedule.steps && !interrupted) {
      const auto report = train_one_step();
      calibrate(estimate);
      if (!options_.resume && report.step == 1) claim();
      record(report, first);
      after_step(report.step);
    }
    bar_.end_line();
    save();
    if (interrupted) {
      std::cerr << "stopped at step " << trainer_.step() << "; --resume continues from " << checkpoint_.string()
                << '\n';
      return 128 + interrupted;
    }
    // All is saved: from here on an interruption may end the program at once.
    for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, SIG_DFL);
    conclude();
    return 0;
  }

 private:
  static strata::product_provider provider(const std::string& name) {
    if (name == "eigen") return strata::product_provider::eigen;
    return name == "onednn" ? strata::product_provider::onednn : strata::product_provider::automatic;
  }
  static strata::product_precision precision(const std::string& name) {
    if (name == "bfloat16") return strata::product_precision::bfloat16;
    return name == "float32" ? strata::product_precision::float32 : strata::product_precision::bfloat16_emulated;
  }
  static strata::loss_values<Config> loss_weights(const program_options& options) {
    auto weights = strata::loss_values<Config>::default_weights();
    for (const auto& [name, weight] : options.loss_weights) {
      strata::require(std::isfinite(weight) && weight >= 0, "the weight of loss '", name,
                      "' must not be negative, but is ", weight);
      weights[name] = weight;
    }
    return weights;
  }

  /// Linux hands out memory that it does not have and kills the program that uses it: better to say so before.
  void require_memory() const {
    const auto& options = trainer_.options();
    const auto use = options_.recompute ? strata::activation_use::recomputing : strata::activation_use::training;
    const double needed = static_cast<double>(options.batch) *
                          static_cast<double>(strata::cost<Config>::activation_bytes(1, options.length, use));
    const double present = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
    strata::require(needed < present, "a batch of ", options.batch, " texts of ", options.length, " bytes needs ",
                    fixed(needed / 1e9, 1), " GB of memory, but this machine has ", fixed(present / 1e9, 1));
  }

  /// Once a first step has worked, a new run takes the place of the one that it overwrites: checkpoint first, so that
  /// no disk that is full and no kill leaves the old checkpoint with the metrics of the new run.
  void claim() {
    if (fs::exists(checkpoint_)) save();
    metrics_.continue_after(-1, 0);
    fs::remove(weights_);
  }

  void resume(const given_options& given) {
    strata::require(fs::exists(checkpoint_), "there is no run to resume: ", checkpoint_, " does not exist");
    strata::training_options asked = options_.training;
    const auto note = trainer_.resume(checkpoint_);
    saved_step_ = trainer_.step();
    strata::training_options stored = trainer_.options();
    std::map<std::string, double> before;
    strata::for_each_option(stored, [&](const char* name, auto value) { before[name] = static_cast<double>(value); });
    before["validation_fraction"] = note.value("validation_fraction", 0.1);
    before["seconds"] = note.value("seconds_asked", 0.0);
    const auto check = [&](const std::string& name, double value) {
      const auto flag = given.find(name);
      const auto shown = [&](double number) {
        if (name == "decoupled") return std::string(number != 0 ? "adamw" : "adam");
        return strata::to_text(number);
      };
      strata::require(flag == given.end() || value == before[name], flag == given.end() ? "" : flag->second, " is ",
                      shown(value), ", but the run in ", checkpoint_, " has ", shown(before[name]),
                      "; a resumed run keeps its options");
    };
    strata::for_each_option(asked, [&](const char* name, auto value) { check(name, static_cast<double>(value)); });
    check("validation_fraction", options_.validation_fraction);
    check("seconds", options_.seconds);
    options_.seconds = before["seconds"];
    options_.validation_fraction = before["validation_fraction"];
    text_ = strata::text::load(options_.text, options_.validation_fraction);

    const auto bytes = note.value("text_bytes", std::size_t{0});
    strata::require(bytes == text_.all().size(), "the run in ", checkpoint_, " is on a text of ", bytes, " bytes, but ",
                    fs::path(options_.text), " has ", text_.all().size());
    strata::require(note.value("text_fingerprint", "") == text_fingerprint_, "the run in ", checkpoint_,
                    " is on another text of ", bytes, " bytes than ", fs::path(options_.text));
    if (note.value("threads", 0) != backend_.threads())
      std::cerr << "note: the run had " << note.value("threads", 0) << " threads and goes on with "
                << backend_.threads() << ": it agrees to rounding only\n";
    trained_before_ = note.value("seconds", 0.0);
  }

  void introduce() const {
    using cost = strata::cost<Config>;
    const auto& options = trainer_.options();
    std::cerr << "model " << Config::name << ": " << fixed(static_cast<double>(cost::parameters) / 1e6, 2)
              << " M parameters, " << fixed(cost::training_flops_per_token / 1e6, 1) << " MFLOP a token in training; "
              << strata::describe<Config>() << '\n'
              << "text " << options_.text << ": " << text_.training().size() << " bytes for training, "
              << text_.validation().size() << " for validation\n"
              << options.batch * options.accumulation << " x " << options.length << " tokens a step, "
              << backend_.threads() << " threads\n";
    if (!backend_.message().empty()) std::cerr << "note: " << backend_.message() << '\n';
    if (trainer_.step() > 0) std::cerr << "continuing after step " << trainer_.step() << '\n';
  }

  strata::step_report<Config> train_one_step() {
    return naming_last_checkpoint([&] { return trainer_.train_step(text_.training()); });
  }

  /// Adds to an error where training can go on from.
  template <class Body>
  auto naming_last_checkpoint(Body body) try {
    return body();
  } catch (const strata::error& problem) {
    bar_.end_line();
    if (saved_step_ < 0) strata::fail(problem.what(), "; no checkpoint of this run was written yet");
    strata::fail(problem.what(), "; the last good checkpoint, of step ", saved_step_, ", is ", checkpoint_);
  }

  void calibrate(examples::step_estimate& estimate) {
    if (options_.seconds <= 0) return;
    const double passed = seconds_since(started_);
    if (const auto left = estimate.after_step(passed, options_.seconds - trained_before_ - passed))
      trainer_.set_steps(trainer_.step() + *left);
  }

  void record(const strata::step_report<Config>& report, strata::index first) {
    const auto& options = trainer_.options();
    const double passed = seconds_since(started_);
    const double tokens_a_step = static_cast<double>(options.batch * options.accumulation * options.length);
    const double cross_entropy = report.loss.values["cross_entropy"];
    shown_loss_ = shown_loss_ == 0 ? cross_entropy : 0.95 * shown_loss_ + 0.05 * cross_entropy;
    nlohmann::json entry{{"step", report.step},
                         {"loss", report.loss.total},
                         {"bits_per_byte", bits(cross_entropy)},
                         {"learning_rate", report.learning_rate},
                         {"gradient_norm", report.gradient_norm},
                         {"tokens", static_cast<double>(report.step) * tokens_a_step},
                         {"seconds", trained_before_ + passed}};
    for (std::size_t j = 0; j < strata::loss_values<Config>::count; ++j)
      entry[std::string(strata::loss_values<Config>::names[j])] = report.loss.values[j];
    metrics_.write(entry);

    const double speed = static_cast<double>(report.step - first) * tokens_a_step / passed;
    std::string text = "step " + std::to_string(report.step);
    double fraction = passed / std::max(1.0, options_.seconds);
    if (options.schedule.steps != steps_unknown) {
      const double left = static_cast<double>(options.schedule.steps - report.step) * tokens_a_step / speed;
      fraction = static_cast<double>(report.step) / static_cast<double>(options.schedule.steps);
      text += "/" + std::to_string(options.schedule.steps) + "  " + examples::clock_text(left) + " left";
    }
    bar_.draw(std::min(1.0, fraction), passed,
              text + "  loss " + fixed(shown_loss_, 3) + "  " + fixed(bits(shown_loss_), 3) + " bits/byte  " +
                  fixed(speed, 0) + " tokens/s");
  }

  void after_step(strata::index step) {
    const bool last = step == trainer_.options().schedule.steps;
    const auto due = [&](strata::index every) { return every > 0 && step % every == 0 && !last; };
    if (due(options_.evaluate_every) && !text_.validation().empty()) {
      const double loss = trainer_.evaluate(text_.validation(), options_.evaluate_windows);
      metrics_.write({{"step", step}, {"validation_loss", loss}, {"validation_bits_per_byte", bits(loss)}});
      bar_.end_line();
      std::cerr << "step " << step << ": validation " << fixed(loss, 4) << " nats, " << fixed(bits(loss), 4)
                << " bits per byte\n";
    }
    if (due(options_.sample_every)) {
      bar_.end_line();
      std::cerr << "--- sample at step " << step << " ---\n" << sample(step) << "\n---\n";
    }
    // The first one at once: a disk that cannot take it should not show after hours.
    if (due(options_.checkpoint_every) || (step == 1 && !last)) save();
  }

  std::string sample(strata::index step) {
    strata::generator<Config, strata::cpu> writer(trainer_.model());
    std::vector<strata::token> prompt;
    for (const char letter : options_.prompt) prompt.push_back(static_cast<unsigned char>(letter));
    std::string written;
    const strata::sampling_options sampling{.temperature = 0.8, .seed = static_cast<std::uint64_t>(step)};
    writer.write(std::span(&prompt, 1), options_.sample_length, sampling,
                 [&](strata::index, strata::token id) { written += examples::printable(id); });
    metrics_.write({{"step", step}, {"sample", written}});
    return written;
  }

  void save() {
    naming_last_checkpoint([&] {
      trainer_.save(checkpoint_, {{"text_bytes", text_.all().size()},
                                  {"text_fingerprint", text_fingerprint_},
                                  {"validation_fraction", options_.validation_fraction},
                                  {"threads", backend_.threads()},
                                  {"seconds_asked", options_.seconds},
                                  {"seconds", trained_before_ + seconds_since(started_)}});
    });
    saved_step_ = trainer_.step();
  }

  void conclude() {
    strata::save_weights(trainer_.model(), weights_);
    const double seconds = trained_before_ + seconds_since(started_);
    std::cout << "trained " << trainer_.step() << " steps in " << examples::clock_text(seconds) << '\n';
    if (!text_.validation().empty()) {
      const double loss = trainer_.evaluate(text_.validation());
      const double order0 = strata::order0_entropy(text_.all());
      metrics_.write({{"step", trainer_.step()},
                      {"validation_loss", loss},
                      {"validation_bits_per_byte", bits(loss)},
                      {"order0_bits_per_byte", order0}});
      std::cout << "validation loss " << fixed(loss, 4) << " nats a byte = " << fixed(bits(loss), 4)
                << " bits per byte; the order-0 entropy of the text is " << fixed(order0, 4) << ", so "
                << fixed(100 * (1 - bits(loss) / order0), 1) << "% below it\n";
    }
    std::cout << "--- sample ---\n"
              << sample(trainer_.step()) << "\n---\n"
              << "checkpoint " << checkpoint_.string() << "\nweights " << weights_.string() << '\n';
    strata::require(std::cout.flush().good(), "cannot write to standard output");
  }

  program_options options_;
  strata::text text_;
  strata::cpu backend_;
  strata::trainer<Config, strata::cpu> trainer_;
  std::string text_fingerprint_ = fingerprint(text_.all());
  strata::index saved_step_ = -1;
  fs::path checkpoint_, weights_;
  metrics_file metrics_;
  examples::progress_bar bar_;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  double trained_before_ = 0, shown_loss_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  strata::keep_freed_memory();
  program_options options;
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
  app.add_option("--threads", options.threads, "0: one a processor")
      ->check(whole_number(0, 1024))
      ->capture_default_str();
  app.add_option("--products", options.products, "library for matrix products")
      ->check(CLI::IsMember({"automatic", "eigen", "onednn"}))
      ->capture_default_str();
  app.add_option("--precision", options.precision, "of what products multiply; they add in float32")
      ->check(CLI::IsMember({"float32", "bfloat16", "bfloat16_emulated"}))
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
    given_options given;
    for (const auto& [name, option] : kept)
      if (option->count() > 0) given[name] = option->get_name();

    examples::catch_interrupts();
    int status = 0;
    const bool known = examples::with_model([&](auto model) { return options.model == model.name; },
                                            [&](auto model) {
                                              training_run<decltype(model)> run(options, given);
                                              status = run.run();
                                            });
    strata::require(known, "no model is called '", options.model, "'; there are:", examples::model_names());
    return status;
  });
}
