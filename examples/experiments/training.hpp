// One run, in a process of its own. Only the files that include this compile models.
#pragma once

#include <chrono>
#include <iostream>
#include <optional>
#include <sys/resource.h>

#include <strata/cpu.hpp>

#include "../program.hpp"
#include "../run_files.hpp"
#include "../step_estimate.hpp"
#include "configurations.hpp"
#include "runs.hpp"

namespace experiments {

using std::chrono::steady_clock;

/// The note in a checkpoint of a run.
struct progress {
  double seconds = 0, peak_bytes = 0, flops = 0;
  std::vector<curve_point> curve;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(progress, seconds, peak_bytes, flops, curve)

/// The most memory that this process ever had. Linux counts in units of 1024 bytes.
inline double peak_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return 1024.0 * static_cast<double>(usage.ru_maxrss);
}

/// Trains the model that `D` describes. Configurations that share model and losses compile this once.
template <const auto& D, class Losses>
class run {
 public:
  run(const configuration& what, const settings& own, const fs::path& text, const fs::path& folder, std::uint64_t seed)
      : what_(what),
        own_(own),
        folder_(folder),
        checkpoint_(checkpoint_path(folder, what.name, seed)),
        seed_(seed),
        text_(strata::text::load(text, own.validation_fraction)),
        backend_({.threads = own.threads}),
        step_flops_(step_flops(what, own, text_.training())),
        trainer_(backend_, options(what, own, seed, step_flops_)) {
    strata::require(examples::fingerprint(text_.all()) == own.text_fingerprint, text,
                    " is not the text of the experiment in ", folder, " any more");
    if (!backend_.message().empty()) std::cout << "note: " << backend_.message() << '\n';
    if (!fs::exists(checkpoint_)) return;
    trainer_.resume(checkpoint_).note.get_to(done_);
    std::cout << "continued after step " << trainer_.step() << " and " << examples::fixed(done_.seconds, 3)
              << " seconds\n";
  }

  bool train() {
    examples::step_estimate estimate(own_.seconds);
    std::optional<steady_clock::time_point> saved;
    const double before = done_.seconds;
    while (!finished() && !examples::interrupted) {
      const double fraction_before = fraction();
      const auto start = steady_clock::now();
      const auto report = trainer_.train_step(text_.training());
      done_.seconds += examples::seconds_since(start);
      count_flops();
      if (own_.timed() && !finished())
        if (const auto left = estimate.after_step(done_.seconds - before, own_.seconds - done_.seconds))
          trainer_.set_steps(trainer_.step() + *left);
      const double points = static_cast<double>(own_.points);
      if (std::floor(fraction_before * points) < std::floor(fraction() * points)) add_point();
      tell(report.loss.values["cross_entropy"]);
      // Also after the first step, so that a full disk shows at once and not after hours.
      if (!saved || examples::seconds_since(*saved) > seconds_between_checkpoints) {
        save();
        saved = steady_clock::now();
      }
    }
    save();
    if (examples::interrupted) return false;
    conclude();
    return true;
  }

 private:
  static constexpr double seconds_between_checkpoints = 30;

  static strata::training_options options(const configuration& what, const settings& own, std::uint64_t seed,
                                          double flops_of_step) {
    strata::training_options result = own.training;
    result.seed = seed;
    result.merge = what.merges;
    result.schedule.steps =
        own.timed() ? examples::steps_unknown : static_cast<strata::index_type>(own.flops / flops_of_step);
    return result;
  }

  /// Where the model decides its boundaries, only the steps themselves say what a step costs: the schedule follows them.
  void count_flops() {
    if constexpr (strata::facts<D>::groups == 1) {
      done_.flops += step_flops_;
    } else {
      auto positions = strata::facts<D>::positions(own_.training.length);
      for (std::size_t l = 0; l < positions.size(); ++l) {
        const auto& shape = trainer_.model().embeddings(static_cast<int>(l)).shape;
        positions[l] = shape[0] * shape[1] / own_.training.batch;
      }
      done_.flops += static_cast<double>(own_.training.accumulation) *
                     strata::cost<D, Losses>::training_flops(own_.training.batch, own_.training.length, what_.merges,
                                                             Losses(), positions);
      constexpr strata::index_type between = 20;
      if (own_.timed() || trainer_.step() % between != 0 || finished()) return;
      const double of_step = done_.flops / static_cast<double>(trainer_.step());
      const auto left = static_cast<strata::index_type>((own_.flops - done_.flops) / of_step);
      trainer_.set_steps(trainer_.step() + std::max<strata::index_type>(1, left));
    }
  }

  strata::index_type steps() const { return trainer_.options().schedule.steps; }

  /// Whether all steps are done, or no time is left.
  bool finished() const { return trainer_.step() >= steps() || (own_.timed() && done_.seconds >= own_.seconds); }

  /// The used part of the budget.
  double fraction() const {
    if (finished()) return 1;
    if (own_.timed()) return done_.seconds / own_.seconds;
    return static_cast<double>(trainer_.step()) / static_cast<double>(steps());
  }

  double validation_loss(strata::index_type windows) {
    const double loss = trainer_.evaluate(text_.validation(), windows);
    strata::require(std::isfinite(loss), "the validation loss is ", loss, " after step ", trainer_.step());
    return loss;
  }

  void add_point() {
    const double loss = validation_loss(own_.evaluate_windows);
    done_.curve.push_back({trainer_.step(), done_.seconds, examples::bits(loss)});
  }

  /// Prints a line for the process that started this one, a few times a second.
  void tell(double cross_entropy) {
    if (examples::seconds_since(told_) < 0.2) return;
    told_ = steady_clock::now();
    std::cout << "progress " << fraction() << ' ' << examples::bits(cross_entropy) << '\n' << std::flush;
  }

  void save() {
    done_.peak_bytes = std::max(done_.peak_bytes, peak_bytes());
    trainer_.save(checkpoint_, done_);
  }

  void conclude() {
    // All else can be repeated, so an interruption may now end the program at once.
    for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, SIG_DFL);
    const double loss = validation_loss(0);
    write_result({.configuration = what_.name,
                  .seed = seed_,
                  .model = what_.model,
                  .steps = trainer_.step(),
                  .seconds = done_.seconds,
                  .bits_per_byte = examples::bits(loss),
                  .peak_bytes = done_.peak_bytes,
                  .flops_per_token = done_.flops / (static_cast<double>(trainer_.step()) * own_.tokens_a_step()),
                  .bits_by_eighth = bits_by_eighth(),
                  .curve = done_.curve,
                  .sample = sample()},
                 folder_);
    fs::remove(checkpoint_);
  }

  std::vector<double> bits_by_eighth() {
    std::vector<double> nats(8), counted(8);
    const strata::index_type length = own_.training.length;
    const strata::window_sequence windows(text_.validation(), length);
    std::vector<strata::token> ids(static_cast<std::size_t>(length + 1));
    for (strata::index_type n = 0; n < windows.count(); ++n) {
      windows.copy(n, ids);
      const auto logits = trainer_.model().forward({ids.data(), {1, length}}, {.merge = what_.merges});
      for (strata::index_type t = 0; t < length; ++t) {
        const auto eighth = static_cast<std::size_t>(8 * t / length);
        const strata::token label = ids[static_cast<std::size_t>(t + 1)];
        if (label == strata::no_token) continue;
        double largest = logits(0, t, 0), sum = 0;
        for (strata::index_type v = 0; v < logits.shape[2]; ++v)
          largest = std::max(largest, static_cast<double>(logits(0, t, v)));
        for (strata::index_type v = 0; v < logits.shape[2]; ++v)
          sum += std::exp(static_cast<double>(logits(0, t, v)) - largest);
        nats[eighth] += largest + std::log(sum) - static_cast<double>(logits(0, t, label));
        counted[eighth] += 1;
      }
    }
    for (std::size_t n = 0; n < nats.size(); ++n) nats[n] = counted[n] > 0 ? examples::bits(nats[n] / counted[n]) : 0;
    return nats;
  }

  std::vector<std::uint8_t> sample() {
    strata::generator writer(trainer_.model(), 1, {.merge = what_.merges});
    std::vector<strata::token> prompt;
    for (const char letter : own_.prompt) prompt.push_back(static_cast<unsigned char>(letter));
    std::vector<std::uint8_t> generated;
    writer.generate(std::span(&prompt, 1), own_.sample_length, {.temperature = 0.8, .seed = 1},
                    [&](strata::index_type, strata::token id) { generated.push_back(static_cast<std::uint8_t>(id)); });
    return generated;
  }

  const configuration& what_;
  const settings& own_;
  fs::path folder_, checkpoint_;
  std::uint64_t seed_;
  strata::text text_;
  strata::cpu backend_;
  double step_flops_;  ///< with the mean positions of the text
  strata::trainer<D, strata::cpu, Losses> trainer_;
  progress done_;
  steady_clock::time_point told_;
};

template <const auto& D, class Losses>
bool train(const configuration& what, const settings& own, const fs::path& text, const fs::path& folder,
           std::uint64_t seed) {
  return run<D, Losses>(what, own, text, folder, seed).train();
}

template <class Each>
configuration configuration_of() {
  using losses = typename Each::losses;
  nlohmann::json weights;
  losses().for_each([&](const auto& loss) { weights[std::string(loss.name)] = loss.weight; });
  return {.name = Each::name,
          .description = Each::description,
          .model = {{"description", strata::to_json(Each::model)}, {"losses", weights}, {"merges", Each::merges}},
          .merges = Each::merges,
          .parameters = cost_of<Each>::parameters,
          .parameters_of_losses = cost_of<Each>::parameters - strata::cost<Each::model, strata::inference>::parameters,
          .max_length = Each::model.max_length,
          .training_flops =
              [](strata::index_type batch, strata::index_type length, std::span<const std::uint8_t> text) {
                return cost_of<Each>::training_flops(batch, length, Each::merges, losses(),
                                                     strata::mean_positions<Each::model>(text, length));
              },
          .train = train<Each::model, losses>};
}
}  // namespace experiments
