// Training a model on bytes: random pieces, Adam with a schedule, evaluation, and checkpoints that resume bit for bit.
// Shapes: batches [B,T+1].
// The optimizer's papers are named in backend/reference/optimizer.hpp.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <strata/data/row_source.hpp>
#include <strata/data/text.hpp>
#include <strata/io/weights.hpp>
#include <strata/model/transformer.hpp>
#include <strata/train/parameter_groups.hpp>
#include <strata/train/schedule.hpp>

namespace strata::inline STRATA_ABI {

/// What changes the weights. `adam` adds weight decay to the gradient, `adamw` applies it to the weights. `muon` is for
/// hidden matrices; AdamW then updates all else.
enum class optimizer_kind { adamw, adam, muon };
constexpr std::array<std::string_view, 3> names_of(optimizer_kind) { return {"adamw", "adam", "muon"}; }

/// Of the matrices that Muon updates. Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024).
struct muon_options {
  double learning_rate = 0.02;  ///< when the schedule is at its peak
  double momentum = 0.95, weight_decay = 0.1;
  bool normalised = false;  ///< NorMuon, arXiv 2510.05491: each row has its own mean square, with the decay `beta2`
  double beta2 = 0.95;
  int iterations = 5;  ///< of Newton and Schulz
};

/// Everything that decides the final weights of a run, except the text and the number of threads.
struct training_options {
  index_type batch = 8;         ///< texts a pass
  index_type length = 0;        ///< tokens a text; 0: the model's max_length
  index_type accumulation = 1;  ///< passes a step
  /// Batch and length double from these until they are whole, in equal parts of so many steps; 0: they are whole at once.
  index_type growth = 0, first_batch = 1, first_length = 64;
  schedule_options schedule = {};
  optimizer_kind optimizer = optimizer_kind::adamw;
  muon_options muon = {};
  double beta1 = 0.9, beta2 = 0.99, epsilon = 1e-8, weight_decay = 0.1;
  double max_norm = 1;          ///< gradients are clipped to this norm; 0: never
  index_type most_skipped = 0;  ///< so many steps whose loss or gradient is not finite are skipped; one more throws
  double average = 0;           ///< decay of an average of the weights over steps; 0: there is none
  double table_rate = 1;        ///< learning rate of n-gram tables, divided by that of the other weights
  std::uint64_t seed = 1;       ///< of the weights, of the pieces of text and of dropout
  dropout_rates dropout = {};
  bool merge = true;  ///< as in `forward_options`
};

/// Calls visit(name, field) for every field: the one list that files and programs share.
template <class Options, class Visit>
void for_each_option(Options& options, Visit visit) {
  visit("batch", options.batch);
  visit("length", options.length);
  visit("accumulation", options.accumulation);
  visit("growth", options.growth);
  visit("first_batch", options.first_batch);
  visit("first_length", options.first_length);
  visit("learning_rate", options.schedule.peak);
  visit("final_fraction", options.schedule.final_fraction);
  visit("warmup", options.schedule.warmup);
  visit("steps", options.schedule.steps);
  visit("decay", options.schedule.decay);
  visit("decay_fraction", options.schedule.decay_fraction);
  visit("optimizer", options.optimizer);
  visit("beta1", options.beta1);
  visit("beta2", options.beta2);
  visit("epsilon", options.epsilon);
  visit("weight_decay", options.weight_decay);
  visit("max_norm", options.max_norm);
  visit("most_skipped", options.most_skipped);
  visit("average", options.average);
  visit("table_rate", options.table_rate);
  visit("muon_learning_rate", options.muon.learning_rate);
  visit("muon_momentum", options.muon.momentum);
  visit("muon_weight_decay", options.muon.weight_decay);
  visit("muon_normalised", options.muon.normalised);
  visit("muon_beta2", options.muon.beta2);
  visit("muon_iterations", options.muon.iterations);
  visit("seed", options.seed);
  visit("embedding_dropout", options.dropout.embedding);
  visit("attention_dropout", options.dropout.attention);
  visit("feed_forward_dropout", options.dropout.feed_forward);
  visit("merge", options.merge);
}

/// Steps and sizes stay below this, far from overflow.
inline constexpr index_type most_steps = index_type{1} << 50;
/// The random numbers of a step count its pieces of text in 32 bits.
inline constexpr index_type most_crops = index_type{1} << 32;

inline constexpr int most_muon_iterations = 100;

inline void check(const training_options& options) {
  // The operations compute with floats.
  for_each_option(options, [](const char* name, const auto& value) {
    if constexpr (std::is_same_v<decltype(value), const double&>) require_float(value, name, "training options");
  });
  const auto positive = [](const char* name, auto value) {
    require(value > 0, name, " must be positive, not ", value);
  };
  const auto share_below_1 = [](const char* name, double value) {
    require(value >= 0 && static_cast<float>(value) < 1, name, " must be in [0, 1), not ", value);
  };
  const auto not_negative = [](const char* name, auto value) {
    require(value >= 0, name, " must not be negative, but is ", value);
  };
  positive("batch", options.batch);
  positive("length", options.length);
  positive("accumulation", options.accumulation);
  require(options.batch <= most_tokens / options.length, "a batch of ", options.batch, " texts of ", options.length,
          " tokens is more than ", most_tokens, " tokens");
  require(options.accumulation <= most_tokens / (options.batch * options.length), "a step of ", options.accumulation,
          " passes over ", options.batch * options.length, " tokens is more than ", most_tokens, " tokens");
  require(options.accumulation <= most_crops / options.batch, "a step of ", options.accumulation, " passes over ",
          options.batch, " texts draws more than ", most_crops, " pieces of text");
  not_negative("growth", options.growth);
  require(options.growth <= most_steps, "growth must be at most ", most_steps, " steps, not ", options.growth);
  positive("first_batch", options.first_batch);
  positive("first_length", options.first_length);
  positive("learning_rate", options.schedule.peak);
  positive("steps", options.schedule.steps);
  positive("epsilon", options.epsilon);
  require(options.schedule.steps <= most_steps, "steps must be at most ", most_steps, ", not ", options.schedule.steps);
  not_negative("warmup", options.schedule.warmup);
  require(options.schedule.warmup <= most_steps, "warmup must be at most ", most_steps, " steps, not ",
          options.schedule.warmup);
  not_negative("final_fraction", options.schedule.final_fraction);
  require(options.schedule.decay_fraction >= 0 && options.schedule.decay_fraction <= 1,
          "decay_fraction must be from 0 to 1, not ", options.schedule.decay_fraction);
  not_negative("weight_decay", options.weight_decay);
  not_negative("max_norm", options.max_norm);
  not_negative("most_skipped", options.most_skipped);
  not_negative("table_rate", options.table_rate);
  not_negative("muon_learning_rate", options.muon.learning_rate);
  not_negative("muon_weight_decay", options.muon.weight_decay);
  share_below_1("average", options.average);
  share_below_1("muon_momentum", options.muon.momentum);
  share_below_1("muon_beta2", options.muon.beta2);
  require(options.muon.iterations >= 0 && options.muon.iterations <= most_muon_iterations,
          "muon_iterations must be from 0 to ", most_muon_iterations, ", not ", options.muon.iterations);
  share_below_1("beta1", options.beta1);
  share_below_1("beta2", options.beta2);
  check(options.dropout);
}

/// The dropout seed of pass `pass` in step `step`; both count from 0.
inline std::uint64_t dropout_seed(const random_source& source, index_type step, index_type pass) {
  constexpr std::uint64_t stream = std::uint64_t{0x64726f70} << 32;  // "drop", as in `crop`
  return source.bits(stream | static_cast<std::uint32_t>(pass), static_cast<std::uint64_t>(step));
}

/// For evaluations that nobody watches.
struct no_progress {
  void operator()(index_type, index_type) const {}
};

/// What one step did.
template <class Losses>
struct step_report {
  index_type step = 0;  ///< counts from 1
  loss_report<Losses> loss;
  double gradient_norm = 0;  ///< before clipping
  double learning_rate = 0;
  bool skipped = false;  ///< its loss or gradient was not finite, and it changed no weight
  /// In tokens, 0 while it is not known: see `trainer::measure_noise`.
  double noise_scale = 0;
};

/// The Euclidean norms of a parameter and of its gradient in the last step, before clipping.
struct parameter_norms {
  std::string name;
  double weight = 0, gradient = 0;
};

/// A parameter in a hook of a trainer: its weights and gradient in the memory of the backend.
template <class S>
struct named_parameter {
  std::string_view name;
  std::span<const index_type> shape;
  view<S, 1> weight, gradient;  ///< flat; a table of n-grams has no gradient of its shape
};

/// One parameter in a step of an optimizer of one's own. All views are flat, in the memory of the backend.
template <class S>
struct parameter_update {
  std::string_view name;
  std::span<const index_type> shape;
  view<const S, 1> gradient;  ///< multiplied by `clip`, it is the gradient to use
  view<S, 1> weight;
  view<S, 1> first_moment, second_moment;  ///< for any state; 0 before the first step, kept by checkpoints
  double clip = 1;                         ///< from `training_options::max_norm`
  double learning_rate = 0;                ///< after schedule and groups
  double weight_decay = 0;                 ///< of the options or groups; 0 for vectors
  index_type step = 0;                     ///< counts from 1
};

/// What `resume` found.
struct resume_report {
  nlohmann::json note;  ///< of the program that saved
  load_report weights;  ///< heads of losses that the file and this trainer do not share
};

/// Trains the model that `D` describes to predict the next token, and to minimise `Losses`.
template <const auto& D, class Backend, class Losses = default_losses, bool Fits = check_parts<D, Backend, Losses>>
class trainer {
 public:
  using scalar = typename Backend::scalar;
  using model_type = transformer<D, Backend, Losses>;
  using parameters_type = typename model_type::parameters_type;
  using values_type = loss_values<Losses>;

  explicit trainer(Backend& backend, training_options options = {}, Losses losses = {})
      : options_(resolved(options)),
        model_(backend, options.seed, losses),
        first_moment_(parameters_type::buffer_size),
        second_moment_(parameters_type::buffer_size),
        measures_(measures_size) {
    model_.set_dropout(options_.dropout);
    start_average();
  }

  model_type& model() { return model_; }
  const training_options& options() const { return options_; }
  /// The losses with their options and weights.
  const Losses& losses() const { return model_.chosen_losses(); }
  /// Steps done so far.
  index_type step() const { return step_; }

  /// Texts in a pass and tokens in a text at a step, counted from 0: see `training_options::growth`.
  index_type batch_of(index_type step) const {
    return grown(options_.first_batch, options_.batch, step, options_.growth);
  }
  index_type length_of(index_type step) const {
    return grown(options_.first_length, options_.length, step, options_.growth);
  }

  /// The learning rate over its peak, at a step counted from 0, in place of the schedule's. A checkpoint does not keep it.
  void set_schedule(std::function<double(index_type)> own) { own_schedule_ = std::move(own); }

  /// Sets the number of steps of the schedule. For runs that first measure how long a step takes.
  void set_steps(index_type steps) {
    require(steps > step_ && steps <= most_steps, "a run that did ", step_, " steps cannot end after ", steps);
    options_.schedule.steps = steps;
  }

  /// work(), with the average of the weights in place of the weights. It may evaluate and save the weights, not train.
  template <class Work>
  decltype(auto) with_average(Work&& work) {
    require(average_.size() > 0, "this trainer keeps no average of the weights: see training_options::average");
    struct exchange {
      trainer& own;
      storage<scalar> kept;
      explicit exchange(trainer& of) : own(of), kept(parameters_type::buffer_size) {
        copy(own.model_.backend(), std::as_const(own.model_).weights(), kept.view());
        copy(own.model_.backend(), own.average_.view(), own.model_.weights());
      }
      ~exchange() { copy(own.model_.backend(), kept.view(), own.model_.weights()); }
    } exchanged(*this);
    return std::forward<Work>(work)();
  }

  /// Called with all parameters in every step: after the backward passes, before gradients are clipped, and after the
  /// update. The calls see and may change what they are given. On a device they must use the backend's operations, or wait
  /// for it.
  using hook = std::function<void(std::span<const named_parameter<scalar>>)>;
  void set_hooks(hook after_backward, hook after_update) {
    after_backward_ = std::move(after_backward);
    after_update_ = std::move(after_update);
    update_.clear();
  }

  /// Updates one parameter. On a device it must use the backend's operations, or wait for the device.
  using optimizer = std::function<void(const parameter_update<scalar>&)>;
  /// An optimizer of one's own in place of `training_options::optimizer`. Each step calls it for every parameter that is
  /// not frozen, if the loss and gradient are finite. Tables of n-grams stay with Adam, which visits the rows of a step only.
  /// A checkpoint keeps `name`, and only a trainer whose optimizer has the same name resumes it.
  void set_optimizer(std::string name, optimizer own) {
    require(!name.empty() && own, "set_optimizer needs a name and a function");
    own_optimizer_ = std::move(own);
    own_optimizer_name_ = std::move(name);
    update_.clear();
  }

  /// Parameters that learn at other rates, with another weight decay, or not at all. Checkpoints keep the groups.
  void set_groups(std::vector<parameter_group> groups) {
    plan_ = detail::plan_updates(parameters_type::entries(), parameters_type::regions, groups);
    groups_ = std::move(groups);
    update_.clear();
  }
  const std::vector<parameter_group>& groups() const { return groups_; }
  /// Steps that changed nothing so far, of `training_options::most_skipped`.
  index_type skipped() const { return skipped_; }

  /// Measures the gradient noise scale in every step from now on, for three more passes over the weights and the memory
  /// of one gradient: the number of tokens a step beyond which more tokens improve the gradient little. It compares each
  /// gradient with its mean with the one before, and averages over about 100 steps. Tables of n-grams do not count.
  /// Source: McCandlish et al., "An empirical model of large-batch training", arXiv 1812.06162, appendix A.1.
  void measure_noise() {
    if (last_gradient_.size() == 0) last_gradient_ = storage<scalar>(parameters_type::dense_size);
  }

  /// The norms of every parameter, in the order of files. A table of n-grams has no norm of its gradient here.
  std::vector<parameter_norms> norms() {
    return exclusively(model_.backend(), "measuring norms", [&] {
      const auto& entries = parameters_type::entries();
      const auto count = static_cast<index_type>(entries.size());
      storage<scalar> squares(2 * count);
      fill(model_.backend(), scalar{0}, squares.view());
      for (index_type n = 0; n < count; ++n) {
        const parameter_entry& entry = entries[static_cast<std::size_t>(n)];
        const auto into = [&](index_type place) { return squares.view().slice(place, 1); };
        squared_norm(model_.backend(), std::as_const(model_).weights().slice(entry.offset, entry.size), into(2 * n));
        if (entry.kind == parameter_kind::table) continue;
        squared_norm(model_.backend(), model_.gradients().slice(entry.offset, entry.size), into(2 * n + 1));
      }
      const auto values = host_copy(squares);
      std::vector<parameter_norms> all;
      for (std::size_t n = 0; n < entries.size(); ++n)
        all.push_back({entries[n].name, std::sqrt(static_cast<double>(values[2 * n])),
                       std::sqrt(static_cast<double>(values[2 * n + 1]))});
      return all;
    });
  }

  /// One step on random pieces of `bytes`. A loss or gradient that is not finite throws and changes no weight.
  step_report<Losses> train_step(std::span<const std::uint8_t> bytes) {
    const random_source random(options_.seed);
    return step_on([&](index_type row, std::span<token> ids) {
      crop(bytes, random, static_cast<std::uint64_t>(step_), static_cast<std::uint32_t>(row), ids);
    });
  }
  /// One step on rows of `source`. Errors are as above.
  template <row_source Source>
  step_report<Losses> train_step(const Source& source) {
    return step_on([&](index_type row, std::span<token> ids) { source.fill(step_, row, ids); });
  }

  /// One step on given rows of tokens, ids [B,T+1], in one pass: the first T are the input, the last T the labels. The
  /// options' batch, length and accumulation do not matter here. Errors are as those of `train_step`.
  step_report<Losses> train_on(view<const token, 2> ids) {
    return exclusively(model_.backend(), "a training step", [&] {
      {
        const phase<Backend> named(model_.backend(), "training step");
        start_step();
        add_pass(ids, 0, 1);
        enqueue_update();
      }
      return finish_step(1, static_cast<double>(ids.shape[0] * (ids.shape[1] - 1)));
    });
  }

  /// Mean cross-entropy, nats a token, over at most `most` windows of `bytes`, spread evenly over it (0: all windows).
  double evaluate(std::span<const std::uint8_t> bytes, index_type most = 0) {
    return evaluate(window_sequence(bytes, options_.length), most);
  }
  /// The same over windows of the options' length. Calls progress(windows done, windows in all) after each batch.
  template <window_list Windows, class Progress = no_progress>
  double evaluate(const Windows& windows, index_type most = 0, Progress progress = {}) {
    require(most >= 0, "the most windows to evaluate must be 0 (all) or positive, not ", most);
    return exclusively(model_.backend(), "an evaluation", [&] { return mean_cross_entropy(windows, most, progress); });
  }

  /// Writes everything that `resume` needs, replacing `path` as a whole. `resume` returns `note`.
  void save(const std::filesystem::path& path, const nlohmann::json& note = {}) {
    exclusively(model_.backend(), "saving a checkpoint", [&] {
      const view<const scalar, 1> weights = std::as_const(model_).weights();
      squared_norm(model_.backend(), weights, measures_.view().slice(0, 1));
      require(std::isfinite(host_copy(measures_)[0]), "the weights are not finite after step ", step_,
              "; no checkpoint was written");
      nlohmann::json object = metadata_;
      object["format"] = file_format;
      nlohmann::json& described = object["description"];
      // The options of another merge are no unknown keys: the file was of a model without merges.
      if (described.is_object() && merge_name(described) != merge_of<D>::name) described.erase("merge");
      if (described.is_object()) described.erase(layers_of_two_levels);  // of a run that an older version began
      described = with_other_keys(to_json(D), described);
      object["step"] = step_;
      for_each_option(options_,
                      [&](const char* name, const auto& value) { object["options"][name] = field_to_json(value); });
      object["options"].erase(name_before_optimizer);
      object["skipped"] = skipped_;
      object.erase(own_optimizer_key);
      if (own_optimizer_) object[own_optimizer_key] = own_optimizer_name_;
      object["groups"] = nlohmann::json::array();
      for (const parameter_group& group : groups_) object["groups"].push_back(to_json(group));
      object["heads"] = Losses::names;
      object["losses"]["ignore_index"] = losses().ignore_index;
      losses().for_each([&](const auto& loss) {
        nlohmann::json& own = object["losses"][std::string(loss.name)];
        own["weight"] = loss.weight;
        own.update(options_to_json(loss));
      });
      object["note"] = note;

      const auto values = weights_of(model_);
      const auto first = host_copy(first_moment_), second = host_copy(second_moment_);
      safetensors_writer writer;
      for (const auto& [key, value] : strings_) writer.set_metadata(key, value);
      try {
        writer.set_metadata(metadata_key, object.dump());
      } catch (const nlohmann::json::exception&) {  // all other text in it comes from a file, which was checked
        fail("cannot write ", path, ": the note is not valid UTF-8");
      }
      add_parameters<parameters_type>(writer, "", values);
      add_parameters<parameters_type>(writer, first_prefix, first);
      add_parameters<parameters_type>(writer, second_prefix, second);
      std::vector<scalar> average;
      if (average_.size() > 0) add_parameters<parameters_type>(writer, average_prefix, average = host_copy(average_));
      writer.write(path);
    });
  }

  /// Continues from a checkpoint as if the run had never stopped. Step, options and losses come from the checkpoint. A
  /// loss that the checkpoint lacks keeps its options, and a head that it lacks keeps its weights. Nothing changes if
  /// the file does not fit.
  resume_report resume(const std::filesystem::path& path) {
    return exclusively(model_.backend(), "resuming from a checkpoint", [&] {
      const safetensors_file file = safetensors_file::read(path);
      nlohmann::json object = read_metadata(file);
      require(!object.empty(), file.source(), ": no checkpoint of strata: its metadata names no model");
      require(object.contains("step"), file.source(),
              ": holds the weights of a model, but no state of a training run; load_weights reads it");
      // A head that does not fit keeps its weights; its moments start at 0.
      file_match match = compare_with<D, parameters_type>(file, load_mode::strict);
      training_options options = options_;
      Losses chosen = losses();
      const auto step = read_number<index_type>(object, "step", file.source(), 0, most_steps);
      if (const auto found = object.find("options"); found != object.end()) {
        require(found->is_object(), file.source(), ": \"options\" must be a JSON object, but is ",
                detail::value_text(*found));
        if (const auto stored = found->find(name_before_optimizer); stored != found->end()) {
          bool decoupled = true;
          field_from_json(*stored, name_before_optimizer, file.source() + ": options", decoupled);
          options.optimizer = decoupled ? optimizer_kind::adamw : optimizer_kind::adam;
        }
        // Runs of older versions had no other decay.
        options.schedule.decay = decay_kind::cosine;
        options.schedule.decay_fraction = 1;
        // Nor had they these.
        options.growth = options.most_skipped = 0;
        options.average = 0;
        for_each_option(options, [&](const char* name, auto& value) {
          if (const auto stored = found->find(name); stored != found->end())
            field_from_json(*stored, name, file.source() + ": options", value);
        });
      }
      read_losses(losses_in(object, file.source()), file.source(), chosen);
      const auto own_name = object.find(own_optimizer_key);
      const nlohmann::json stored_name = own_name != object.end() ? *own_name : nlohmann::json("");
      require(stored_name == own_optimizer_name_, file.source(), ": was trained by ",
              stored_name == "" ? "an optimizer of the options" : "the optimizer " + stored_name.dump(),
              ", but this trainer has ",
              own_optimizer_ ? "\"" + own_optimizer_name_ + "\"" : "none of one's own; call set_optimizer first");
      index_type skipped = 0;
      if (object.contains("skipped")) skipped = read_number<index_type>(object, "skipped", file.source(), 0, step);
      std::vector<parameter_group> groups;
      detail::update_plan plan;
      try {
        if (const auto found = object.find("groups"); found != object.end())
          groups = groups_from_json(*found, file.source());
        plan = detail::plan_updates(parameters_type::entries(), parameters_type::regions, groups);
        options = resolved(options);
        chosen.check(D.vocabulary);
      } catch (const error& problem) {
        fail(file.source(), ": ", problem.what());
      }
      auto strings = file.metadata();
      std::erase_if(strings, [](const auto& each) {
        return each.first == metadata_key || each.first.starts_with(metadata_prefix_0_1);
      });
      auto values = weights_of(model_);
      parameter_values<scalar> first(values.size()), second(values.size());
      read_parameters<parameters_type>(file, "", values, match.names);
      read_parameters<parameters_type>(file, first_prefix, first, match.names);
      read_parameters<parameters_type>(file, second_prefix, second, match.names);
      parameter_values<scalar> average = values;
      if (options.average > 0) read_parameters<parameters_type>(file, average_prefix, average, match.names);

      options_ = options;
      step_ = step;
      skipped_ = skipped;
      noise_ = {};
      groups_ = std::move(groups);
      plan_ = std::move(plan);
      update_.clear();
      metadata_ = std::move(object);
      strings_ = std::move(strings);
      model_.set_losses(chosen);
      model_.set_dropout(options.dropout);
      set_weights(model_, values);
      upload(model_.backend(), host_view(first), first_moment_.view());
      upload(model_.backend(), host_view(second), second_moment_.view());
      start_average();
      if (average_.size() > 0) upload(model_.backend(), host_view(average), average_.view());
      return resume_report{metadata_.value("note", nlohmann::json()), std::move(match.report)};
    });
  }

 private:
  template <class T>
  using storage = typename Backend::template storage<T>;
  /// Older files say with true or false whether the optimizer is AdamW.
  static constexpr const char* name_before_optimizer = "decoupled";
  static constexpr const char* own_optimizer_key = "own_optimizer";
  static constexpr const char* first_prefix = "optimizer.first_moment.";
  static constexpr const char* second_prefix = "optimizer.second_moment.";
  static constexpr const char* average_prefix = "optimizer.average.";
  static constexpr index_type losses_size = 16 * index_type{Losses::count};
  // Places in `measures_`; the first is the squared norm of the gradient, then come the losses.
  static constexpr index_type norm_of_tables = 1 + losses_size, norm_of_mean = norm_of_tables + 1,
                              norm_of_dense = norm_of_mean + 1, measures_size = norm_of_dense + 1;
  static constexpr int tables = static_cast<int>(facts<D>::ngrams.size());

  static void read_losses(const nlohmann::json& object, const std::string& source, Losses& chosen) {
    if (const auto found = object.find("ignore_index"); found != object.end())
      chosen.ignore_index = to_number<token>(*found, "ignore_index", source, ignore_nothing);
    chosen.for_each([&](auto& loss) {
      const auto found = object.find(std::string(loss.name));
      if (found == object.end()) return;
      const std::string where = source + ": loss '" + std::string(loss.name) + "'";
      require(found->is_object(), where, " must be a JSON object");
      if (const auto weight = found->find("weight"); weight != found->end())
        field_from_json(*weight, "weight", where, loss.weight);
      options_from_json(*found, where, loss);
    });
  }

  static training_options resolved(training_options options) {
    if (options.length == 0) options.length = D.max_length;
    check(options);
    return options;
  }

  template <class Windows, class Progress>
  double mean_cross_entropy(const Windows& windows, index_type most, Progress& progress) {
    const index_type all = windows.count(), count = most > 0 ? std::min(most, all) : all;
    // Window n of `count`, spread evenly: n * all / count without a large product.
    const auto window = [&](index_type n) { return n * (all / count) + n * (all % count) / count; };
    values_type only_cross_entropy;
    only_cross_entropy[0] = 1;
    double total = 0, labels = 0;
    for (index_type first = 0; first < count; first += options_.batch) {
      const index_type batch = std::min(options_.batch, count - first);
      make_room_for(batch, options_.length);
      for (index_type b = 0; b < batch; ++b) windows.copy(window(first + b), row(b));
      const double own = counted_labels(batch);
      total += own * model_.losses(ids(batch), only_cross_entropy, {.merge = options_.merge}).total;
      labels += own;
      progress(first + batch, count);
    }
    return labels > 0 ? total / labels : 0;
  }
  /// Labels of a batch that are tokens.
  double counted_labels(index_type batch) const {
    index_type counted = 0;
    for (index_type b = 0; b < batch; ++b)
      for (index_type t = 1; t <= length_; ++t) counted += ids(batch)(b, t) != no_token;
    return static_cast<double>(counted);
  }

  /// The model names the size if it does not fit; the ids are the smaller part.
  void make_room_for(index_type batch, index_type length) {
    model_.reserve(batch, length);
    length_ = length;
    ids_.resize(static_cast<std::size_t>(batch * (length + 1)));
  }

  /// A step on rows that fill_row(row, ids) fills.
  template <class FillRow>
  step_report<Losses> step_on(FillRow fill_row) {
    return exclusively(model_.backend(), "a training step", [&] {
      enqueue_step(fill_row);
      const index_type texts = batch_of(step_) * options_.accumulation;
      return finish_step(options_.accumulation, static_cast<double>(texts * length_of(step_)));
    });
  }
  /// Calls the operations of a step. A device may still work on them when this returns.
  template <class FillRow>
  void enqueue_step(FillRow fill_row) {
    const phase<Backend> named(model_.backend(), "training step");
    start_step();
    const index_type batch = batch_of(step_);
    make_room_for(batch, length_of(step_));
    for (index_type pass = 0; pass < options_.accumulation; ++pass) {
      for (index_type b = 0; b < batch; ++b) fill_row(pass * batch + b, row(b));
      add_pass(ids(batch), pass, options_.accumulation);
    }
    enqueue_update();
  }
  void start_step() {
    model_.clear_gradients();
    fill(model_.backend(), scalar{0}, measures_.view());
  }
  /// Adds the gradients and losses of one of `passes` passes.
  void add_pass(view<const token, 2> ids, index_type pass, index_type passes) {
    const random_source random(options_.seed);
    model_.add_gradients(ids, values_type(losses()),
                         {.merge = options_.merge, .dropout_seed = dropout_seed(random, step_, pass)},
                         1.0 / static_cast<double>(passes));
    add(model_.backend(), model_.losses_of_pass(), measures_.view().slice(1, losses_size));
  }
  void enqueue_update() {
    Backend& backend = model_.backend();
    const phase<Backend> update(backend, "optimizer");
    if (average_.size() > 0 && step_ == 0) copy(backend, std::as_const(model_).weights(), average_.view());
    call(after_backward_);
    const adam_settings own = settings();
    const muon_settings of_muon = settings_of_muon();
    update_.run(backend, update_key{own, of_muon, model_.ngram_gradients().gradients().data}, [&] {
      if (!groups_.empty())
        for (const detail::update_range& each : plan_.ranges)
          if (each.frozen) fill(backend, scalar{0}, model_.gradients().slice(each.first, each.size));
      measure_gradient();
      if (!own_optimizer_) {
        if (options_.optimizer == optimizer_kind::muon) update_hidden_matrices(of_muon);
        update_by_adam(own);
      }
      if constexpr (tables > 0)
        for (int k = 0; k < tables; ++k) update_table(k, own);
    });
    if (own_optimizer_) update_by_own(own);
    if (last_gradient_.size() > 0) compare_with_last_gradient();
    if (average_.size() > 0) {
      // The first weights, which are random, are forgotten sooner.
      const double early = static_cast<double>(step_ + 1) / static_cast<double>(step_ + 10);
      mix(backend, static_cast<scalar>(std::min(options_.average, early)), std::as_const(model_).weights(),
          average_.view());
    }
    call(after_update_);
  }
  /// The average starts as the weights.
  void start_average() {
    average_ = storage<scalar>();
    if (options_.average == 0) return;
    average_ = storage<scalar>(parameters_type::buffer_size);
    copy(model_.backend(), std::as_const(model_).weights(), average_.view());
  }
  /// The squared norm of the whole gradient.
  void measure_gradient() {
    const view<scalar, 1> norm = measures_.view().slice(0, 1);
    squared_norm(model_.backend(), model_.gradients(), norm);
    if constexpr (tables > 0) {
      const view<scalar, 1> of_tables = measures_.view().slice(norm_of_tables, 1);
      const auto add_norm = [&](const view<const scalar, 1>& gradient) {
        squared_norm(model_.backend(), gradient, of_tables);
        add(model_.backend(), of_tables, norm);
      };
      if (std::ranges::none_of(plan_.tables, &detail::update_range::frozen)) {
        add_norm(model_.ngram_gradients().gradients());
      } else {
        for (int k = 0; k < tables; ++k)
          if (!plan_.tables[static_cast<std::size_t>(k)].frozen)
            add_norm(model_.ngram_gradients().touched_rows(k).gradient.flat());
      }
    }
  }
  /// The squared norm of the mean of this gradient and the last one. Then this one becomes the last.
  void compare_with_last_gradient() {
    Backend& backend = model_.backend();
    const view<scalar, 1> now = model_.gradients();
    const view<scalar, 1> last = last_gradient_.view();
    if (noise_.squared_norm > 0) {
      mix(backend, scalar(0.5), now, last);
      squared_norm(backend, last, measures_.view().slice(norm_of_mean, 1));
    }
    squared_norm(backend, now, measures_.view().slice(norm_of_dense, 1));
    copy(backend, now, last);
  }
  /// Adds a step of `tokens` with the squared norms of its gradient and of the mean with the one before.
  double noise_scale_after(double tokens, double own, double of_mean) {
    constexpr double keep = 0.99;
    if (noise_.squared_norm > 0 && noise_.tokens == tokens && std::isfinite(own) && std::isfinite(of_mean)) {
      const double single = (own + noise_.squared_norm) / 2;
      noise_.of_gradient = keep * noise_.of_gradient + (1 - keep) * (2 * of_mean - single);
      noise_.of_noise = keep * noise_.of_noise + (1 - keep) * 2 * tokens * (single - of_mean);
    }
    noise_.tokens = tokens;
    noise_.squared_norm = std::isfinite(own) ? own : 0;
    return noise_.of_gradient > 0 ? noise_.of_noise / noise_.of_gradient : 0;
  }
  void update_hidden_matrices(const muon_settings& settings) {
    const auto update = [&](const muon_settings& own, const std::vector<matrix_place>& places) {
      muon(model_.backend(), own, places, model_.gradients(), measures_.view(), model_.weights(), first_moment_.view(),
           second_moment_.view());
    };
    if (groups_.empty()) return update(settings, parameters_type::hidden_matrices());
    for (const detail::muon_matrices& each : plan_.hidden) {
      muon_settings own = settings;
      own.learning_rate *= each.rate;
      own.weight_decay = each.weight_decay.value_or(settings.weight_decay);
      update(own, each.places);
    }
  }
  void update_by_adam(const adam_settings& settings) {
    const auto update = [&](const adam_settings& own, index_type first, index_type size) {
      const auto part = [&](const view<scalar, 1>& all) { return all.slice(first, size); };
      adam(model_.backend(), own, part(model_.gradients()), measures_.view(), part(model_.weights()),
           part(first_moment_.view()), part(second_moment_.view()));
    };
    if (groups_.empty()) return update(settings, first_of_adam(), parameters_type::dense_size - first_of_adam());
    for (const detail::update_range& each : plan_.ranges) {
      if (each.frozen || each.first < first_of_adam()) continue;
      adam_settings own = settings;
      own.learning_rate *= each.rate;
      own.weight_decay = each.weight_decay.value_or(settings.weight_decay);
      own.decayed = each.decays ? each.size : 0;
      update(own, each.first, each.size);
    }
  }
  /// Waits for the norm of the gradient.
  void update_by_own(const adam_settings& settings) {
    const std::vector<scalar> measures = host_copy(measures_);
    if (!std::ranges::all_of(measures, [](scalar value) { return std::isfinite(value); })) return;
    const double clip = adam_constants(settings, static_cast<double>(measures[0])).clip;
    for (const parameter_entry& entry : parameters_type::entries()) {
      if (entry.kind == parameter_kind::table) continue;
      const detail::update_range own = detail::update_of(entry, groups_);
      if (own.frozen) continue;
      const auto part = [&](const view<scalar, 1>& all) { return all.slice(entry.offset, entry.size); };
      own_optimizer_({entry.name, entry.shape, part(model_.gradients()), part(model_.weights()),
                      part(first_moment_.view()), part(second_moment_.view()), clip, settings.learning_rate * own.rate,
                      own.decays ? own.weight_decay.value_or(settings.weight_decay) : 0, settings.step});
    }
  }
  /// Changes the rows of table `k` that the step looked up, and their moments. All other rows keep both.
  void update_table(int k, adam_settings own) {
    own.learning_rate *= options_.table_rate;
    if (!groups_.empty()) {
      if (plan_.tables[static_cast<std::size_t>(k)].frozen) return;
      own.learning_rate *= plan_.tables[static_cast<std::size_t>(k)].rate;
    }
    const auto touched = model_.ngram_gradients().touched_rows(k);
    const tensor<2>& table = parameters_type::layout.network.ngrams[k];
    const auto of = [&](const view<scalar, 1>& all) { return tensor_memory<scalar>{all.data}[table]; };
    adam_rows(model_.backend(), own, touched.rows, touched.gradient, measures_.view(), of(model_.weights()),
              of(first_moment_.view()), of(second_moment_.view()));
  }
  void call(const hook& own) {
    if (!own) return;
    if (named_.empty())
      for (const parameter_entry& entry : parameters_type::entries())
        named_.push_back({entry.name, entry.shape, model_.weights().slice(entry.offset, entry.size),
                          entry.kind == parameter_kind::table ? view<scalar, 1>{}
                                                              : model_.gradients().slice(entry.offset, entry.size)});
    own(named_);
  }
  /// Waits for the losses and norm of a step of `passes` passes. If one is not finite, the step has changed nothing.
  step_report<Losses> finish_step(index_type passes, double tokens) {
    std::array<scalar, measures_size> measures;
    download(model_.backend(), measures_.view(), view<scalar, 1>{measures.data(), {measures_size}});
    const double share = 1.0 / static_cast<double>(passes);
    const loss_report<Losses> loss(view<const scalar, 1>{measures.data() + 1, {losses_size}}, values_type(losses()),
                                   share);
    step_report<Losses> report{step_ + 1, loss, std::sqrt(static_cast<double>(measures[0])), learning_rate_now()};
    report.skipped = !std::isfinite(report.loss.total) || !std::isfinite(report.gradient_norm);
    if (report.skipped && skipped_ < options_.most_skipped) {
      ++skipped_;
    } else {
      const char* const skipped = options_.most_skipped > 0 ? ", and as many steps as allowed were skipped before" : "";
      require(std::isfinite(report.loss.total), "the loss is ", report.loss.total, " at step ", report.step, skipped);
      require(std::isfinite(report.gradient_norm), "the gradient's norm is ", report.gradient_norm, " at step ",
              report.step, skipped);
    }
    if (last_gradient_.size() > 0)
      report.noise_scale = noise_scale_after(tokens, measures[norm_of_dense], measures[norm_of_mean]);
    ++step_;
    return report;
  }

  double learning_rate_now() const {
    if (!own_schedule_) return learning_rate(options_.schedule, step_);
    const double share = own_schedule_(step_);
    require(share >= 0 && std::isfinite(share), "the schedule of set_schedule returned ", share, " at step ", step_,
            ", but must return a finite number that is not negative");
    return options_.schedule.peak * share;
  }
  adam_settings settings() const {
    return {.learning_rate = learning_rate_now(),
            .beta1 = options_.beta1,
            .beta2 = options_.beta2,
            .epsilon = options_.epsilon,
            .weight_decay = options_.weight_decay,
            .decoupled = options_.optimizer != optimizer_kind::adam,
            .max_norm = options_.max_norm,
            .step = step_ + 1,
            .decayed = parameters_type::regions.first_vector - first_of_adam()};
  }
  muon_settings settings_of_muon() const {
    const muon_options& own = options_.muon;
    return {.learning_rate = own.learning_rate * (learning_rate_now() / options_.schedule.peak),
            .momentum = own.momentum,
            .weight_decay = own.weight_decay,
            .normalised = own.normalised,
            .beta2 = own.beta2,
            .iterations = own.iterations,
            .max_norm = options_.max_norm};
  }
  /// Muon's matrices come before all that Adam updates.
  index_type first_of_adam() const {
    return options_.optimizer == optimizer_kind::muon ? parameters_type::regions.first_other_matrix : 0;
  }

  std::span<token> row(index_type b) {
    const auto window = static_cast<std::size_t>(length_ + 1);
    return std::span<token>(ids_).subspan(static_cast<std::size_t>(b) * window, window);
  }
  view<const token, 2> ids(index_type batch) const { return {ids_.data(), {batch, length_ + 1}}; }

  static view<const scalar, 1> host_view(const std::vector<scalar>& values) {
    return {values.data(), {static_cast<index_type>(values.size())}};
  }
  std::vector<scalar> host_copy(storage<scalar>& device) {
    std::vector<scalar> values(static_cast<std::size_t>(device.size()));
    download(model_.backend(), device.view(), view<scalar, 1>{values.data(), {device.size()}});
    return values;
  }

  training_options options_;
  model_type model_;
  storage<scalar> first_moment_, second_moment_;
  storage<scalar> average_;  // of the weights; empty without `training_options::average`
  // Of the step: the squared norm of the gradient, the summed losses of the passes, more squared norms by their places.
  storage<scalar> measures_;
  storage<scalar> last_gradient_;  // empty unless noise is measured
  /// For `measure_noise`: the last step, and running means of the squared norm of the true gradient and of the noise that
  /// one token adds.
  struct noise_state {
    double tokens = 0, squared_norm = 0, of_gradient = 0, of_noise = 0;
  };
  noise_state noise_;
  /// This decides which operations an update calls: settings, and the gradients of tables, whose memory may move.
  struct update_key {
    adam_settings settings;
    muon_settings of_muon;
    const scalar* tables;
    bool operator==(const update_key&) const = default;
  };
  recording<Backend, update_key> update_;
  std::vector<parameter_group> groups_;
  detail::update_plan plan_;
  hook after_backward_, after_update_;
  std::function<double(index_type)> own_schedule_;
  optimizer own_optimizer_;
  std::string own_optimizer_name_;
  std::vector<named_parameter<scalar>> named_;  // for hooks
  index_type skipped_ = 0;
  std::vector<token> ids_;
  index_type length_ = 0;  // of the rows in it
  index_type step_ = 0;
  // Of the resumed checkpoint, whose unknown keys are kept: our metadata, and those of other programs.
  nlohmann::json metadata_ = nlohmann::json::object();
  std::map<std::string, std::string> strings_;
};

/// Replaces a trainer whose parts do not fit together: see `transformer`.
template <const auto& D, class Backend, class Losses>
class trainer<D, Backend, Losses, false> : public detail::stand_in<Backend, Losses>::template of<trainer> {
 public:
  explicit trainer(Backend&, training_options = {}, const Losses& = {});
};

}  // namespace strata
