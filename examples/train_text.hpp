// The training run of train_text, for any device; train_text.cpp reads its options.
#pragma once

#include <chrono>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <iostream>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <strata/strata.hpp>

#include "console.hpp"
#include "device.hpp"
#include "models.hpp"
#include "run_files.hpp"
#include "run_report.hpp"
#include "step_estimate.hpp"
#include "texts.hpp"
#include "training_memory.hpp"

namespace train_text {

namespace fs = std::filesystem;
using examples::bits, examples::counted, examples::fixed, examples::seconds_since, examples::shortest;
using examples::interrupted;
using examples::metrics_file, examples::run_folder, examples::steps_unknown;

struct program_options {
  examples::text_options text;
  std::string out = "runs/train_text";
  std::string from;       // weights to start with
  bool matching = false;  // only those that fit
  std::vector<strata::parameter_group> groups;
  std::string model;  // empty: the checkpoint's, or a suggestion
  std::string prompt = "\n";
  double seconds = 0;
  strata::index_type evaluate_every = 100, sample_every = 500, sample_length = 400, checkpoint_every = 100;
  std::optional<strata::index_type> evaluate_windows;
  examples::device_options device;
  bool resume = false, overwrite = false, recompute = false, noise_scale = false;
  strata::training_options training;
  std::map<std::string, double> loss_weights;
  std::string suggested;  // what for, if the model is a suggestion
};

/// The options on the command line: their names in the library, and the flags.
using given_options = std::map<std::string, std::string>;

template <const auto& D, class Device>
class training_run {
 public:
  training_run(const program_options& options, const given_options& given, examples::texts text,
               typename Device::backend& backend)
      : options_(options),
        text_(std::move(text)),
        backend_(backend),
        trainer_(backend_, fitting(options), chosen_losses(options)),
        checkpoint_(fs::path(options.out) / "checkpoint.safetensors"),
        weights_(fs::path(options.out) / "weights.safetensors"),
        best_(fs::path(options.out) / "best.safetensors"),
        average_(fs::path(options.out) / "average.safetensors"),
        report_(fs::path(options.out) / "report.html"),
        tokenizer_(fs::path(options.out) / examples::tokenizer_name),
        metrics_(fs::path(options.out) / "metrics.jsonl", fs::path(options.out) / examples::events_name) {
    if (options_.resume)
      resume(given);
    else
      begin();
    text_.prepare(trainer_.options().length, D.vocabulary, trainer_.options().seed);
    // Losses over other windows do not compare.
    if (text_.has_validation() && best_windows_ != windows(windows_on_the_way())) best_step_ = 0;
    prompt_ = prompt();
    if (options_.resume)  // `fitting` did not know its options yet
      memory_of(trainer_.options(), trainer_.losses(), options_).require_within(Device::memory());
    if (options_.noise_scale) trainer_.measure_noise();
    trainer_.model().recompute_activations(options_.recompute);
  }

  int run() {
    const run_folder folder(options_.out);
    if (options_.resume)
      metrics_.continue_after(trainer_.step(), finished());
    else
      strata::require(
          options_.overwrite || !fs::exists(checkpoint_), checkpoint_,
          " holds a run already: --resume continues it, --overwrite replaces it, --out chooses another folder");
    introduce();
    started_ = std::chrono::steady_clock::now();
    if (!options_.from.empty() && text_.has_validation()) {
      const validation found = validate(windows_on_the_way());
      std::cerr << "start: validation " << shown(found) << '\n';
      started_ = std::chrono::steady_clock::now();
    }
    if (interrupted && !options_.resume) {
      std::cerr << "stopped before the first step; nothing was changed\n";
      return 128 + interrupted;
    }
    if (options_.resume) keep_tokenizer();
    const strata::index_type first = trainer_.step();
    tokens_ = 0;
    for (strata::index_type step = 0; step < first; ++step) tokens_ += tokens_of(step);
    tokens_before_ = tokens_;
    const bool was_finished = finished();
    examples::step_estimate estimate(options_.seconds);
    while (!finished() && !interrupted) {
      const auto report = train_one_step();
      calibrate(estimate);
      if (!options_.resume && report.step == 1) claim();
      record(report);
      after_step(report.step);
    }
    bar_.end_line();
    save();
    if (interrupted) {
      write_report();
      std::cerr << "stopped at step " << trainer_.step() << "; --resume continues from " << checkpoint_.string()
                << '\n';
      return 128 + interrupted;
    }
    // All is saved, so an interruption may now end the program at once.
    for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, SIG_DFL);
    conclude(was_finished);
    return 0;
  }

 private:
  /// Whether all steps are done, or no time is left.
  bool finished() const { return trainer_.step() >= trainer_.options().schedule.steps || out_of_time_; }

  using backend = typename Device::backend;
  // Levels that follow the text have no heads of losses.
  using losses =
      std::conditional_t<(strata::facts<D>::groups > 1), strata::losses<strata::boundary_ratio_loss>,
                         std::conditional_t<strata::facts<D>::follows_text, strata::losses<>, strata::default_losses>>;
  static constexpr strata::index_type texts_of_a_long_step = 256;

  static losses chosen_losses(const program_options& options) {
    losses chosen;
    for (const auto& [name, weight] : options.loss_weights) chosen.weight(name) = weight;
    return chosen;
  }

  using cost = strata::cost<D, losses>;

  static examples::training_memory<D, losses> memory_of(const strata::training_options& training, const losses& chosen,
                                                        const program_options& options) {
    return {training, chosen, options.recompute, options.noise_scale};
  }
  /// The options, if what they need fits in memory. Options that make no sense are left to the trainer.
  static strata::training_options fitting(const program_options& options) {
    strata::training_options training = options.training;
    if (training.length == 0) training.length = D.max_length;
    if (!options.resume && training.length > 0 && training.batch > 0 &&
        training.batch <= strata::most_tokens / training.length)
      memory_of(training, chosen_losses(options), options).require_within(Device::memory());
    return training;
  }

  /// A new run replaces an old one after its first step. The checkpoint comes first: neither a full disk nor a kill can
  /// then leave the old checkpoint with the new metrics.
  void claim() {
    if (fs::exists(checkpoint_)) save();
    metrics_.continue_after(-1, false);
    fs::remove(weights_);
    fs::remove(best_);
    fs::remove(average_);
    fs::remove(report_);
    fs::remove(tokenizer_);
    keep_tokenizer();
  }
  /// The folder of the run has a copy of the tokenizer, so that later commands need not name it.
  void keep_tokenizer() const {
    const std::string_view file = text_.tokenizer_file();
    if (file.empty() || fs::exists(tokenizer_)) return;
    strata::write_file_atomically(tokenizer_, [&](auto& output) { output.write(std::as_bytes(std::span(file))); });
  }

  void begin() {
    strata::require(options_.seconds <= 0 || options_.training.growth == 0,
                    "--growth needs --steps: how many steps fit a time depends on the growth");
    if (options_.seconds > 0) trainer_.set_steps(steps_unknown);
    trainer_.set_groups(options_.groups);
    if (options_.from.empty()) return;
    const auto mode = options_.matching ? strata::load_mode::matching : strata::load_mode::strict;
    note_loaded(strata::load_weights(trainer_.model(), options_.from, mode));
  }

  void resume(const given_options& given) {
    const strata::training_options asked = options_.training;
    const strata::resume_report found = trainer_.resume(checkpoint_);
    strata::require(found.note.is_object(), checkpoint_, " is not a checkpoint of train_text: it has no note");
    const examples::run_note note = examples::run_note_from_json(found.note, strata::to_text(checkpoint_, ": note"));
    saved_step_ = trainer_.step();
    std::map<std::string, nlohmann::json> before;
    strata::for_each_option(trainer_.options(),
                            [&](const char* name, auto value) { before[name] = strata::field_to_json(value); });
    before["validation_fraction"] = note.validation_fraction;
    const auto check = [&](const std::string& name, const nlohmann::json& value) {
      const auto flag = given.find(name);
      if (name == "steps" || flag == given.end() || value == before[name]) return;
      const auto shown = [&](const nlohmann::json& number) {
        if (number.is_string()) return number.get<std::string>();
        return number.is_number_float() ? examples::shortest(number) : number.dump();
      };
      strata::fail(flag->second, " is ", shown(value), ", but the run in ", checkpoint_, " has ", shown(before[name]),
                   "; a resumed run keeps its options");
    };
    strata::for_each_option(asked, [&](const char* name, auto value) { check(name, strata::field_to_json(value)); });
    check("validation_fraction", options_.text.validation_fraction);
    text_.split(note.validation_fraction);
    strata::require(note.tokenizer == text_.tokenizer_fingerprint(), "the run in ", checkpoint_, " has ",
                    note.tokenizer.empty() ? "no tokenizer" : "the tokenizer " + note.tokenizer, ", not ",
                    text_.tokenizer_fingerprint().empty() ? "none" : "the tokenizer " + text_.tokenizer_fingerprint());
    strata::require(note.text_bytes == text_.tokens(), "the run in ", checkpoint_, " is on a text of ", note.text_bytes,
                    " ", text_.unit(), ", but ", text_.quoted_name(), " has ", text_.tokens());
    strata::require(note.text_fingerprint == text_fingerprint_, "the run in ", checkpoint_, " is on another text of ",
                    note.text_bytes, " ", text_.unit(), " than ", text_.quoted_name());
    strata::require(note.text_reading.empty() || note.text_reading == text_.reading(), "the run in ", checkpoint_,
                    " reads its text as ", note.text_reading, ", not as ", text_.reading());
    if (note.device != Device::name)
      notes_.push_back("the run was on the device " + note.device + " and continues on " + Device::name +
                       ": it agrees to rounding only");
    else if (note.threads != Device::threads(backend_))
      notes_.push_back(strata::to_text("the run had ", counted(note.threads, "thread"), " and continues with ",
                                       Device::threads(backend_), ": it agrees to rounding only"));
    best_step_ = note.best_step;
    best_loss_ = note.best_loss;
    best_windows_ = note.best_windows;
    note_heads(found.weights);
    limit_resumed(given, asked.schedule.steps, note);
  }

  /// The steps or the time of a resumed run: its own, or more where more is asked for.
  void limit_resumed(const given_options& given, strata::index_type steps, const examples::run_note& note) {
    const double seconds = options_.seconds, had_seconds = note.seconds_asked;
    const strata::index_type done = trainer_.step(), had_steps = trainer_.options().schedule.steps;
    const bool timed = had_seconds > 0;
    strata::require(done <= had_steps, checkpoint_, ": the run did ", counted(done, "step"), " of only ", had_steps);
    trained_before_ = note.seconds;
    options_.seconds = had_seconds;
    out_of_time_ = timed && trained_before_ >= had_seconds;

    const std::string run = strata::to_text(", but the run in ", checkpoint_);
    const char* const keeps = "; a resumed run keeps its options";
    const auto lengthen = [&](strata::index_type to, const std::string& change) {
      trainer_.set_steps(to);
      out_of_time_ = false;
      notes_.push_back("the run had " + change + "; its learning rate schedule follows");
    };
    if (given.contains("steps") && timed) {
      strata::require(finished(), "--steps is ", steps, run, " has --seconds ", shortest(had_seconds),
                      " and is not finished", keeps);
      strata::require(steps >= done, "--steps is ", steps, run, " did ", counted(done, "step"), " already");
      if (steps == done) return;
      options_.seconds = 0;
      lengthen(steps, strata::to_text("--seconds ", shortest(had_seconds), ", did ", counted(done, "step"),
                                      " and now ends after ", steps));
    } else if (given.contains("steps")) {
      strata::require(steps >= had_steps, "--steps is ", steps, run, " has ", had_steps, keeps);
      if (steps > had_steps)
        lengthen(steps, strata::to_text(counted(had_steps, "step"), " and now ends after ", steps));
    } else if (given.contains("seconds")) {
      strata::require(timed, "--seconds is ", shortest(seconds), run, " has --steps ", had_steps, keeps);
      strata::require(seconds >= had_seconds, "--seconds is ", shortest(seconds), run, " has ", shortest(had_seconds),
                      keeps);
      if (seconds == had_seconds) return;
      strata::require(seconds > trained_before_, "--seconds is ", shortest(seconds), run, " trained for ",
                      fixed(trained_before_, 3), " already");
      options_.seconds = seconds;
      lengthen(steps_unknown,
               strata::to_text("--seconds ", shortest(had_seconds), " and now ends after ", shortest(seconds)));
    }
  }

  /// What `--from` could not use.
  void note_loaded(const strata::load_report& report) {
    const fs::path from(options_.from);
    for (const std::string& name : report.missing)
      notes_.push_back(strata::to_text(from, " lacks ", name, ", which keeps its initialisation"));
    for (const std::string& sentence : report.mismatched) notes_.push_back(strata::to_text(from, ": ", sentence));
    for (const std::string& name : report.unused)
      notes_.push_back(strata::to_text(from, " has ", name, ", unused here"));
  }

  /// Heads of losses that only the checkpoint or only this program has.
  void note_heads(const strata::load_report& report) {
    const auto joined = [](const std::vector<std::string>& names) {
      std::string text;
      for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
      return text;
    };
    std::string text;
    if (!report.missing.empty()) text += " it lacks " + joined(report.missing) + ", which keep their initialisation";
    if (!report.mismatched.empty())
      text +=
          (text.empty() ? " it has " : "; it has ") + joined(report.mismatched) + ", which keep their initialisation";
    if (!report.unused.empty())
      text += (text.empty() ? " it has " : "; it has ") + joined(report.unused) + ", which nothing uses here";
    if (!text.empty()) notes_.push_back("the checkpoint is of a run with other losses:" + text);
  }

  void introduce() const {
    const auto& options = trainer_.options();
    std::cerr << "model " << options_.model << (options_.suggested.empty() ? "" : ", " + options_.suggested) << ": "
              << fixed(static_cast<double>(cost::parameters) / 1e6, 2) << " M parameters, "
              << fixed(cost::training_flops_per_token / 1e6, 1) << " MFLOP a token in training\n"
              << "text " << text_.name() << (text_.files() > 1 ? strata::to_text(", ", text_.files(), " files") : "")
              << ": " << text_.training_tokens() << " " << text_.unit() << " for training, "
              << text_.validation_tokens() << " for validation\n"
              << options.batch * options.accumulation << " x " << options.length << " tokens a step, "
              << Device::description(backend_) << '\n';
    const auto memory = memory_of(options, trainer_.losses(), options_);
    std::cerr << "memory " << examples::shown_bytes(memory.of_weights()) << " for weights and optimizer, "
              << examples::shown_bytes(memory.of_batch()) << " for a batch";
    const int threads = Device::threads(backend_);          // 0 on a device whose speed is not known
    constexpr strata::index_type most_counted = 1'000'000;  // steps of growth
    if (options_.seconds <= 0 && !finished() && threads > 0 && options.growth <= most_counted) {
      double tokens = 0;
      for (strata::index_type step = trainer_.step(); step < std::min(options.growth, options.schedule.steps); ++step)
        tokens += tokens_of(step);
      const auto whole = options.schedule.steps - std::max(trainer_.step(), options.growth);
      tokens += static_cast<double>(std::max<strata::index_type>(whole, 0)) * tokens_of(options.growth);
      const double flops = tokens * cost::training_flops_per_token;
      std::cerr << "; about " << examples::clock_text(flops / (threads * strata::flops_of_a_core)) << " of training";
    }
    std::cerr << '\n';
    if (const auto texts = options.batch * options.accumulation; texts >= texts_of_a_long_step)
      examples::print_note(strata::to_text(
          "a step is ", texts, " texts: the bar moves, and SIGINT or SIGTERM ends the run, only after each step"));
    if (const auto& schedule = options.schedule; schedule.warmup > schedule.steps)
      examples::print_note(strata::to_text("the warm-up of ", counted(schedule.warmup, "step"),
                                           " is longer than the run of ", schedule.steps,
                                           ": the learning rate stays below its peak"));
    examples::print_note(Device::message(backend_));
    print_notices();
    for (const std::string& note : notes_) examples::print_note(note);
    if (trainer_.step() > 0 && !finished()) std::cerr << "continuing after step " << trainer_.step() << '\n';
  }

  /// What the texts look like, if not like text.
  void print_notices() const {
    constexpr std::size_t most = 5;
    const auto all = text_.notices();
    for (std::size_t n = 0; n < std::min(all.size(), most); ++n) examples::print_note(all[n]);
    if (all.size() > most)
      examples::print_note(strata::to_text(all.size() - most, " more files do not look like plain text"));
  }

  strata::step_report<losses> train_one_step() {
    return naming_last_checkpoint([&] { return trainer_.train_step(text_); });
  }

  /// Adds the last checkpoint to an error.
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
    const double passed = seconds_since(started_), left = options_.seconds - trained_before_ - passed;
    out_of_time_ = left <= 0;
    if (finished()) return;
    if (const auto steps = estimate.after_step(passed, left)) trainer_.set_steps(trainer_.step() + *steps);
  }

  /// Tokens of a step, counted from 0.
  double tokens_of(strata::index_type step) const {
    return static_cast<double>(trainer_.batch_of(step) * trainer_.options().accumulation * trainer_.length_of(step));
  }

  void record(const strata::step_report<losses>& report) {
    const auto& options = trainer_.options();
    const double passed = seconds_since(started_);
    tokens_ += tokens_of(report.step - 1);
    const double cross_entropy = report.loss.values["cross_entropy"];
    nlohmann::json entry{{"step", report.step},
                         {"loss", report.loss.total},
                         {bits_name(), bits_of(cross_entropy)},
                         {"learning_rate", report.learning_rate},
                         {"gradient_norm", report.gradient_norm},
                         {"tokens", tokens_},
                         {"seconds", trained_before_ + passed}};
    for (std::size_t j = 0; j < strata::loss_values<losses>::count; ++j)
      entry[std::string(strata::loss_values<losses>::names[j])] = report.loss.values[j];
    if (report.skipped) {
      bar_.end_line();
      examples::print_note(strata::to_text("step ", report.step, " was skipped: its loss is ", report.loss.total,
                                           ", its gradient's norm ", report.gradient_norm));
      metrics_.write({{"step", report.step}, {"skipped", trainer_.skipped()}});
      return;
    }
    shown_loss_ = shown_loss_ == 0 ? cross_entropy : 0.95 * shown_loss_ + 0.05 * cross_entropy;
    if (report.noise_scale > 0) entry["noise_scale"] = report.noise_scale;
    const double speed = (tokens_ - tokens_before_) / passed;
    entry["tokens_per_second"] = speed;
    metrics_.write(entry);

    std::string text = "step " + std::to_string(report.step);
    double fraction = (trained_before_ + passed) / std::max(1.0, options_.seconds);
    if (options.schedule.steps != steps_unknown) {
      const double left =
          static_cast<double>(options.schedule.steps - report.step) * tokens_of(options.schedule.steps) / speed;
      fraction = static_cast<double>(report.step) / static_cast<double>(options.schedule.steps);
      text += "/" + std::to_string(options.schedule.steps) + "  " + examples::clock_text(left) + " left";
    }
    bar_.draw(std::min(1.0, fraction), passed,
              text + "  loss " + fixed(shown_loss_, 3) + "  " + fixed(bits_of(shown_loss_), 3) +
                  (text_.by().knows_text() ? " bits/byte  " : " bits/token  ") + fixed(speed, 0) + " tokens/s");
  }

  void after_step(strata::index_type step) {
    const bool last = finished();
    bool better = false;
    const auto due = [&](strata::index_type every) { return every > 0 && step % every == 0 && !last; };
    if (due(options_.evaluate_every) && text_.has_validation()) {
      const validation found = validate(windows_on_the_way());
      better = keep_best(found.nats);
      nlohmann::json entry{{"step", step}, {"validation_loss", found.nats}, {"validation_" + bits_name(), found.bits}};
      add_norms(entry);
      std::cerr << "step " << step << ": validation " << shown(found);
      if (averages()) {
        const validation of_average = trainer_.with_average([&] { return validate(windows_on_the_way()); });
        entry["validation_loss_of_average"] = of_average.nats;
        entry["validation_" + bits_name() + "_of_average"] = of_average.bits;
        std::cerr << "; of the average of the weights " << shown(of_average);
      }
      std::cerr << '\n';
      metrics_.write(entry);
    }
    if (due(options_.sample_every)) {
      bar_.end_line();
      const std::string text = sample(step);
      std::cerr << "--- sample at step " << step << " ---\n" << text << "\n---\n";
    }
    // Also after the first step, so that a full disk shows at once and not after hours; and the checkpoint knows the best.
    if (due(options_.checkpoint_every) || (better && options_.checkpoint_every > 0) || (step == 1 && !last)) {
      save();
      if (seconds_since(reported_) > 50 * report_seconds_) write_report();
    }
  }

  /// Norms of the weights and of the last gradient, for each layer and each other part of the model.
  void add_norms(nlohmann::json& entry) {
    std::map<std::string, std::pair<double, double>> squares;
    for (const strata::parameter_norms& each : trainer_.norms()) {
      auto end = each.name.find('.');
      if (each.name.starts_with("layers.")) end = each.name.find('.', end + 1);
      auto& own = squares[each.name.substr(0, end)];
      own.first += each.weight * each.weight;
      own.second += each.gradient * each.gradient;
    }
    for (const auto& [part, own] : squares) {
      entry["weight_norm/" + part] = std::sqrt(own.first);
      entry["gradient_norm/" + part] = std::sqrt(own.second);
    }
  }
  bool averages() const { return trainer_.options().average > 0; }
  strata::index_type windows_on_the_way() const { return options_.evaluate_windows.value_or(64); }
  /// Writes the weights if no evaluation was better; says whether it did.
  bool keep_best(double loss) {
    if (!std::isfinite(loss) || (best_step_ > 0 && loss >= best_loss_)) return false;
    naming_last_checkpoint([&] { strata::save_weights(trainer_.model(), best_); });
    best_loss_ = loss;
    best_step_ = trainer_.step();
    best_windows_ = windows(windows_on_the_way());
    return true;
  }

  /// Windows of the validation text, and the number in an evaluation of at most `most` (0: all).
  strata::index_type windows() const { return text_.windows().count(); }
  strata::index_type windows(strata::index_type most) const { return most > 0 ? std::min(most, windows()) : windows(); }

  /// A loss in nats a token, and in bits per byte, or token if its text is not known.
  struct validation {
    double nats = 0, bits = 0;
  };
  std::string shown(const validation& found) const {
    return fixed(found.nats, 4) + " nats, " + fixed(found.bits, 4) + " bits per " + measured_thing();
  }
  const char* measured_thing() const { return text_.by().knows_text() ? "byte" : "token"; }
  std::string bits_name() const { return std::string("bits_per_") + measured_thing(); }
  /// Of the training text, on average.
  double bits_of(double nats) const { return bits(nats) / text_.bytes_per_token(); }

  /// The mean over windows that are spread evenly.
  validation validate(strata::index_type most) {
    const double before = seconds_since(started_);
    const examples::counted_windows counted_by(text_.windows(), text_.by());
    const double loss = trainer_.evaluate(counted_by, most, [&](strata::index_type done, strata::index_type count) {
      const double passed = seconds_since(started_);
      const double fraction = static_cast<double>(done) / static_cast<double>(count);
      if (done < count)
        bar_.draw(fraction, passed,
                  strata::to_text("validation ", done, "/", count, "  ",
                                  examples::clock_text((passed - before) * (1 - fraction) / fraction), " left"));
    });
    bar_.end_line();
    return {loss, bits(loss) / (text_.by().knows_text() ? counted_by.bytes_per_token() : 1)};
  }

  std::string sample(strata::index_type step) {
    strata::generator writer(trainer_.model());
    std::string generated;
    const strata::sampling_options sampling{.temperature = 0.8, .seed = static_cast<std::uint64_t>(step)};
    const auto started = std::chrono::steady_clock::now();
    // An interruption waits for the sample: a resumed run does not repeat it.
    const auto go_on = [&](strata::index_type position, strata::index_type end) {
      if (seconds_since(started) > 0.5)
        bar_.draw(static_cast<double>(position) / static_cast<double>(end), seconds_since(started_),
                  strata::to_text("sample ", position, "/", end, " ", text_.unit()));
      return true;
    };
    const std::vector<std::vector<strata::token>> prompts{prompt_};
    writer.generate(
        prompts, options_.sample_length, sampling,
        [&](strata::index_type, strata::token id) { generated += text_.by().text_of(id); }, go_on);
    generated = examples::printable(std::move(generated));
    bar_.end_line();
    metrics_.write({{"step", step}, {"sample", generated}});
    return generated;
  }

  /// The first token stands in for a prompt that a tokenizer turns into none.
  std::vector<strata::token> prompt() const {
    if (!text_.by().knows_text() && options_.prompt == "\n") return {0};
    auto ids = text_.by().encode(options_.prompt);
    for (const strata::token id : ids)
      strata::require(id < D.vocabulary, "--prompt has the token ", id, ", outside of the vocabulary of ",
                      D.vocabulary);
    return ids.empty() ? std::vector<strata::token>{0} : ids;
  }

  void save() {
    naming_last_checkpoint([&] {
      trainer_.save(checkpoint_, to_json(examples::run_note{.text_bytes = text_.tokens(),
                                                            .text_fingerprint = text_fingerprint_,
                                                            .text_reading = text_.reading(),
                                                            .tokenizer = text_.tokenizer_fingerprint(),
                                                            .validation_fraction = text_.options().validation_fraction,
                                                            .best_step = best_step_,
                                                            .best_loss = best_loss_,
                                                            .best_windows = best_windows_,
                                                            .device = Device::name,
                                                            .threads = Device::threads(backend_),
                                                            .seconds_asked = options_.seconds,
                                                            .seconds = trained_before_ + seconds_since(started_)}));
    });
    saved_step_ = trainer_.step();
  }

  void write_report() {
    const auto begun = std::chrono::steady_clock::now();
    examples::run_facts facts{.title = "train_text: " + options_.model + " on " + text_.name(), .rows = {}};
    const auto add = [&](const char* name, const auto& value) {
      facts.rows.emplace_back(name, strata::to_text(value));
    };
    add("training text", strata::to_text(text_.training_tokens(), " ", text_.unit()));
    add("validation text", strata::to_text(text_.validation_tokens(), " ", text_.unit()));
    add("parameters", cost::parameters);
    add("device", Device::description(backend_));
    strata::for_each_option(trainer_.options(), [&](const char* name, const auto& value) {
      const nlohmann::json shown = strata::field_to_json(value);
      add(name, shown.is_string() ? shown.get<std::string>() : shown.dump());
    });
    try {
      examples::write_run_report(report_, facts, fs::path(options_.out) / "metrics.jsonl");
    } catch (const strata::error& problem) {  // training goes on without the page
      bar_.end_line();
      examples::print_note(problem.what());
    }
    reported_ = std::chrono::steady_clock::now();
    report_seconds_ = seconds_since(begun);
  }

  void conclude(bool was_finished) {
    strata::save_weights(trainer_.model(), weights_);
    if (averages()) trainer_.with_average([&] { strata::save_weights(trainer_.model(), average_); });
    const std::string steps = counted(trainer_.step(), "step");
    if (was_finished)
      std::cout << "the run is finished after " << steps << "; a larger "
                << (options_.seconds > 0 ? "--steps or --seconds" : "--steps") << " lengthens it" << std::endl;
    else
      std::cout << "trained " << steps << " in " << examples::clock_text(trained_before_ + seconds_since(started_))
                << std::endl;
    if (text_.has_validation()) {
      // A best was saved on the way: the last weights may be better.
      if (best_step_ > 0 && !was_finished) {
        if (keep_best(validate(windows_on_the_way()).nats)) save();
      }
      const strata::index_type most = options_.evaluate_windows.value_or(256);
      const validation found = validate(most);
      const double order0 = text_.order0_entropy() / text_.bytes_per_token();
      metrics_.write({{"step", trainer_.step()},
                      {"validation_loss", found.nats},
                      {"validation_" + bits_name(), found.bits},
                      {"order0_" + bits_name(), order0}});
      const double below = 100 * (1 - found.bits / order0);
      std::cout << "validation loss " << fixed(found.nats, 4) << " nats a "
                << (std::string_view(text_.unit()) == "bytes" ? "byte" : "token") << " = " << fixed(found.bits, 4)
                << " bits per " << measured_thing() << " over " << counted(windows(most), "window") << " of "
                << windows() << "; the order-0 entropy of the text is " << fixed(order0, 4) << ", so "
                << fixed(std::abs(below), 1) << (below >= 0 ? "% below it" : "% above it") << std::endl;
    }
    const std::string text = sample(trainer_.step());
    write_report();
    std::cout << "--- sample ---\n"
              << text << "\n---\n"
              << "report " << report_.string() << "\ncheckpoint " << checkpoint_.string() << "\nweights "
              << weights_.string() << '\n';
    if (best_step_ > 0)
      std::cout << "best " << best_.string() << ", of step " << best_step_ << ": validation " << fixed(best_loss_, 4)
                << " nats\n";
  }

  program_options options_;
  examples::texts text_;
  backend& backend_;
  strata::trainer<D, backend, losses> trainer_;
  std::string text_fingerprint_ = text_.fingerprint();
  strata::index_type saved_step_ = -1;
  bool out_of_time_ = false;
  fs::path checkpoint_, weights_, best_, average_, report_, tokenizer_;
  strata::index_type best_step_ = 0;  // 0: none yet
  double best_loss_ = 0;
  strata::index_type best_windows_ = 0;
  metrics_file metrics_;
  std::vector<std::string> notes_;  // of the resumed run
  std::vector<strata::token> prompt_;
  examples::progress_bar bar_;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point reported_ = started_;
  double report_seconds_ = 0;  // that the last page took
  double trained_before_ = 0, shown_loss_ = 0;
  double tokens_ = 0, tokens_before_ = 0;  // trained on, in all and before this process
};

/// The name of the model in a checkpoint.
inline std::string model_of(const fs::path& checkpoint) {
  const auto file = strata::safetensors_file::read(checkpoint);
  std::string name;
  const bool known = examples::with_model(examples::described_in(file), [&](auto model) { name = model.name; });
  strata::require(!strata::description_in(file).is_null(), file.source(),
                  ": the file holds no description of its model; --model names it");
  strata::require(known, file.source(), ": its model is none of", examples::model_names(),
                  "; write_text --describe shows it");
  return name;
}

/// The first model with the vocabulary of the text's tokenizer.
inline std::string model_for(const examples::texts& text) {
  std::string name, all;
  const auto fits = [&]<const auto & D>(examples::named_model<D> model) {
    all += strata::to_text(' ', model.name, " (", D.vocabulary, ")");
    return D.vocabulary == text.vocabulary();
  };
  const bool found = examples::with_model(fits, [&](auto model) { name = model.name; });
  strata::require(found, fs::path(text.options().tokenizer), ": no model has its vocabulary of ", text.vocabulary(),
                  " tokens; there are:", all);
  return name;
}

/// Takes the model and the options that fit the time, except for those that were given.
inline void take_suggestion(program_options& options, const given_options& given, strata::index_type bytes,
                            int threads) {
  strata::suggestion found = strata::suggest(bytes, options.seconds, threads);
  std::map<std::string, nlohmann::json> asked;
  strata::for_each_option(options.training, [&](const char* name, const auto& value) {
    if (given.contains(name)) asked[name] = strata::field_to_json(value);
  });
  strata::for_each_option(found.training, [&](const char* name, auto& value) {
    if (const auto own = asked.find(name); own != asked.end())
      strata::field_from_json(own->second, name, "train_text", value);
  });
  options.training = found.training;
  options.model = strata::name_of(found.model);
  options.suggested = strata::to_text("suggested for ", shortest(options.seconds), " s on ", counted(threads, "thread"),
                                      " and ", bytes, " bytes");
}

template <class Device>
int train(program_options options, const given_options& given) {
  const fs::path checkpoint = fs::path(options.out) / "checkpoint.safetensors";
  strata::require(!options.resume || fs::exists(checkpoint), "there is no run to resume: ", checkpoint,
                  " does not exist");
  // The file that the training starts from, if there is one, knows its model and tokenizer.
  const fs::path start = options.resume ? checkpoint : fs::path(options.from);
  if (options.text.tokenizer.empty() && !start.empty())
    options.text.tokenizer = examples::tokenizer_beside(start).string();
  examples::texts text(options.text);
  auto backend = Device::open(options.device);
  if (options.model.empty()) {
    const int threads = Device::threads(backend);  // 0 on a device for which there are no suggestions
    if (!start.empty())
      options.model = model_of(start);
    else if (text.vocabulary() != 256)
      options.model = model_for(text);
    else if (options.seconds > 0 && threads > 0)
      take_suggestion(options, given, text.training_tokens(), threads);
    else
      options.model = examples::model_without_seconds;
  }
  int status = 0;
  const bool known = examples::with_model([&](auto model) { return options.model == model.name; },
                                          [&]<const auto & D>(examples::named_model<D>) {
                                            training_run<D, Device> run(options, given, std::move(text), backend);
                                            status = run.run();
                                          });
  strata::require(known, "no model is called '", options.model, "'; there are:", examples::model_names());
  return status;
}

/// Trains as the options say. Returns the exit code of the program.
int on_cpu(const program_options& options, const given_options& given);
int on_cuda(const program_options& options, const given_options& given);  // where the program has CUDA

}  // namespace train_text
