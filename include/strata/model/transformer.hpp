// The model: weights, activations and, for training, gradients, on one backend.
// Shapes: ids [B,T] -> logits [B,T,V]; ids [B,T+1] -> losses and gradients.
// Source: docs/model.md.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include <strata/backend/backend.hpp>
#include <strata/backend/exclusive_use.hpp>
#include <strata/config/check_parts.hpp>
#include <strata/core/random.hpp>
#include <strata/layers/rotary.hpp>
#include <strata/model/backward.hpp>
#include <strata/model/cuts.hpp>
#include <strata/model/ngrams.hpp>

namespace strata::inline STRATA_ABI {

/// Routing numbers the positions of a pass in 32 bits.
inline constexpr index_type most_routed_rows = std::numeric_limits<token>::max();

/// Throws unless `id` is a token; `row` and `position` are its place in the input.
inline void require_token(token id, index_type row, index_type position, int vocabulary) {
  require(id >= 0 && id < vocabulary, "token id ", id, " at row ", row, ", position ", position,
          " is outside the vocabulary of ", vocabulary);
}

/// The rotary tables in the activations of passes. It remembers them: passes over texts whose boundaries differ have other
/// activations, but mostly the same tables.
template <const auto& D, class S>
class rotary_tables {
 public:
  /// Uploads the tables that `memory` does not hold yet.
  template <class Backend>
  void upload_to(Backend& backend, const activation_layout<D>& acts, tensor_memory<S> memory) {
    for (std::size_t l = 0; l < tables_.size(); ++l) {
      if (!acts.rotary[l]) continue;
      known& own = tables_[l];
      const index_type count = acts.rotary[l].shape[1];
      const view<S, 1> place = memory[acts.rotary[l]].flat();
      if (own.count == count && own.place == place.data) continue;
      if (own.count != count) own.values = rotary_table<S>(facts<D>::levels[l], count);
      own.count = count;
      own.place = place.data;
      upload(backend, view<const S, 1>{own.values.data(), {place.size()}}, place);
    }
  }
  /// Forgets where they were uploaded to: that memory is gone.
  void forget_places() {
    for (known& own : tables_) own.place = nullptr;
  }

 private:
  struct known {
    index_type count = 0;
    std::vector<S> values = {};
    const S* place = nullptr;
  };
  std::array<known, facts<D>::level_count> tables_;
};

/// Decides the boundaries of level `l` by their probabilities, in the middle of pass `p`, and makes room for the positions:
/// replan(shapes) plans the activations, and what they hold so far stays.
template <const auto& D, class Backend, class Layout, class Storage, class S, class Replan>
void decide_boundaries(int l, pass<Backend>& p, Layout& acts, level_cuts<D, Backend>& cuts, Storage& memory,
                       Storage& scratch, rotary_tables<D, S>& rotary, Replan replan) {
  const auto probabilities = p.memory[acts.boundaries[static_cast<std::size_t>(l)].p].flat();
  std::vector<S> host(static_cast<std::size_t>(probabilities.size()));
  download(p.backend, probabilities, view<S, 1>{host.data(), {probabilities.size()}});
  cuts.decide(p.backend, l, host);
  acts = replan(cuts.shapes());
  if (const index_type held = memory.size(); held < acts.memory_size) {
    Storage larger(acts.memory_size + acts.memory_size / 4);  // so it seldom grows
    copy(p.backend, std::as_const(memory).view(), larger.view().slice(0, held));
    memory = std::move(larger);
    rotary.forget_places();
  }
  if (scratch.size() < acts.scratch_size) {
    scratch = Storage();  // free the old memory first
    scratch = Storage(acts.scratch_size);
  }
  rotary.upload_to(p.backend, acts, {memory.data()});
  p.memory = {memory.data()};
  p.scratch = {scratch.data()};
}

/// Choices of one forward pass.
struct forward_options {
  bool merge = true;  ///< false leaves out the merge after every layer, or an hourglass's addition (ablation)
  /// Seed of the dropout masks. None, the default: nothing is dropped.
  std::optional<std::uint64_t> dropout_seed = {};
};

/// The model that `D` describes, on `Backend`: `strata::cpu`, `strata::cuda` or `strata::reference<S>`. `Learns` is a
/// list of losses, or `inference`: then there are no gradients and no heads of losses. A returned view is valid until
/// the next pass.
template <const auto& D, class Backend, class Learns = default_losses, bool Fits = check_parts<D, Backend, Learns>>
class transformer {
 public:
  using backend_type = Backend;
  using scalar = typename Backend::scalar;
  using F = facts<D>;
  using losses_type = losses_of<Learns>;
  using parameters_type = parameters<D, Learns>;
  static constexpr const auto& description = D;
  static constexpr bool trains = !std::is_same_v<Learns, inference>;

  /// Draws random weights from `seed`. A model for inference by default draws none: its weights come from a file. The
  /// backend must outlive the model.
  explicit transformer(Backend& backend, std::optional<std::uint64_t> seed = default_seed, losses_type losses = {})
      : backend_(&backend),
        weights_(parameters_type::buffer_size),
        gradients_(trains ? parameters_type::dense_size : 0),
        losses_(losses.of_model(F::model)) {
    losses_.check(F::vocabulary);
    if (seed) initialise(*seed);
  }

  Backend& backend() const { return *backend_; }
  /// The caller fills them, as `load_weights` and `initialise` do.
  view<scalar, 1> weights() {
    require_here();
    has_weights_ = true;
    return weights_.view();
  }
  view<const scalar, 1> weights() const {
    require_here();
    require(has_weights_, "the model has no weights yet: load them, or draw them with initialise(seed)");
    return weights_.view();
  }
  /// Of all but the n-gram tables: the first elements of the layout of `weights`.
  view<scalar, 1> gradients() requires trains {
    require_here();
    return gradients_.view();
  }
  /// Of the rows of n-gram tables that passes looked up since `clear_gradients`.
  const ngram_lookups<D, Backend>& ngram_gradients() const requires trains { return ngrams_; }
  /// The gradient of one parameter on the host, in its layout.
  std::vector<scalar> gradient_of(const parameter_entry& entry) requires trains {
    return exclusively(*backend_, "reading a gradient", [&] {
      std::vector<scalar> whole(static_cast<std::size_t>(entry.size));
      if (entry.kind != parameter_kind::table) {
        download(*backend_, gradients().slice(entry.offset, entry.size), {whole.data(), {entry.size}});
        return whole;
      }
      if constexpr (!F::ngrams.empty()) {
        for (int k = 0; k < ngram_lookups<D, Backend>::count; ++k) {
          if (layout.network.ngrams[k].offset != entry.offset) continue;
          const std::vector<token>& rows = ngrams_.touched_on_host(k);
          const index_type dim = F::ngrams[k].dim, used = static_cast<index_type>(rows.size()) * dim;
          std::vector<scalar> own(static_cast<std::size_t>(used));
          download(*backend_, ngrams_.touched_rows(k).gradient.flat().slice(0, used), {own.data(), {used}});
          for (std::size_t slot = 0; slot < rows.size(); ++slot)
            std::copy_n(own.begin() + static_cast<std::ptrdiff_t>(slot) * dim, dim, whole.begin() + rows[slot] * dim);
        }
      }
      return whole;
    });
  }
  bool has_weights() const { return has_weights_; }
  void clear_gradients() requires trains {
    exclusively(*backend_, "clearing gradients", [&] {
      fill(*backend_, scalar{0}, gradients());
      ngrams_.clear_gradients(*backend_);
    });
  }

  /// With `true`, passes keep only the streams between layers, and the backward pass computes the rest again: less
  /// memory, more time, the same bits. Frees the memory of earlier passes.
  void recompute_activations(bool recompute) requires trains {
    exclusively(*backend_, "a model", [&] {
      use_ = recompute ? activation_use::recomputing : activation_use::training;
      forget_passes();
    });
  }
  /// Dropout rates of passes with a `dropout_seed`. Frees the memory of earlier passes.
  void set_dropout(dropout_rates rates) requires trains {
    check(rates);
    exclusively(*backend_, "a model", [&] {
      dropout_ = rates;
      forget_passes();
    });
  }
  const losses_type& chosen_losses() const { return losses_; }
  /// Changes the options of the losses. Frees the memory of earlier passes.
  void set_losses(const losses_type& losses) {
    const losses_type own = losses.of_model(F::model);
    own.check(F::vocabulary);
    exclusively(*backend_, "a model", [&] {
      losses_ = own;
      forget_passes();
    });
  }

  /// Draws all weights again.
  void initialise(std::uint64_t seed) {
    exclusively(*backend_, "drawing weights", [&] { draw_weights(seed); });
  }

  /// Allocates the memory for passes of this shape. Every pass does this itself.
  void reserve(index_type batch, index_type tokens) {
    exclusively(*backend_, "a pass", [&] { allocate(batch, tokens, mean_shapes<D>(batch, tokens)); });
  }

  /// ids [B,T] -> logits [B,T,V].
  view<const scalar, 3> forward(view<const token, 2> ids, forward_options options = {}) {
    return exclusively(*backend_, "a forward pass", [&] {
      prepare(ids, ids.shape[1], false);
      take(ids, 0, inputs_, false);
      find_ngrams(false);
      forward_pass(make_pass(options), options);
      return tensor_memory<const scalar>{memory_.data()}[acts_.head.logits];
    });
  }

  /// Level `l` after the post-embedding norm, as the last pass left it: [B,n,d], or [1,R,d] with the texts one after another if
  /// its boundaries follow the text.
  view<const scalar, 3> token_embeddings(int l) const { return kept(acts_.token_embedding, l); }
  /// The same after the final norm.
  view<const scalar, 3> embeddings(int l) const { return kept(acts_.embedding, l); }

  /// The tokens at which positions of level `l` begin, in one text of the last pass.
  std::vector<index_type> starts(int l, index_type text = 0) const {
    require(l >= 0 && l < F::level_count, "the model has no level ", l, ": it has ", F::level_count);
    require_here();
    const auto level = static_cast<std::size_t>(l);
    require(batch_ > 0 && (!F::levels[level].ragged || std::ssize(cuts_.of_texts(l)) == batch_),
            "the model has no positions before its first pass, or after a pass that failed");
    require(text >= 0 && text < batch_, "the last pass had no text ", text, ": it had ", batch_);
    return F::levels[level].ragged ? cuts_.of_texts(l)[static_cast<std::size_t>(text)].tokens
                                   : positions_by_stride(F::levels[level], tokens_).tokens;
  }

  /// ids [B,T+1]: the first T are the input, the last T the labels. `weights` weighs the losses; by default each
  /// has its own weight.
  loss_report<losses_type> losses(view<const token, 2> ids) { return losses(ids, loss_values(losses_)); }
  loss_report<losses_type> losses(view<const token, 2> ids, const loss_values<losses_type>& weights,
                                  forward_options options = {}) {
    return exclusively(*backend_, "a pass with losses", [&] {
      take_both(ids, false);
      evaluate(weights, options, 1, false);
      return report(weights);
    });
  }

  /// As `losses`; also adds the gradient of `scale` times the total to `gradients()`.
  loss_report<losses_type> accumulate_gradients(view<const token, 2> ids) requires trains {
    return accumulate_gradients(ids, loss_values(losses_));
  }
  loss_report<losses_type> accumulate_gradients(view<const token, 2> ids, const loss_values<losses_type>& weights,
                                                forward_options options = {}, double scale = 1) requires trains {
    return exclusively(*backend_, "a pass with gradients", [&] {
      add_gradients(ids, weights, options, scale);
      return report(weights);
    });
  }
  /// As `accumulate_gradients`, but does not wait for the losses: see `losses_of_pass`.
  void add_gradients(view<const token, 2> ids, const loss_values<losses_type>& weights, forward_options options,
                     double scale) requires trains {
    exclusively(*backend_, "a pass with gradients", [&] {
      take_both(ids, true);
      // Without dropout, the seed does not change the pass.
      const pass_key key{weights, options.merge, dropout_.any() && options.dropout_seed,
                         dropout_.any() ? options.dropout_seed.value_or(0) : 0, scale};
      const auto work = [&] { evaluate(weights, options, scale, true); };
      if constexpr (F::follows_text)
        work();  // other texts need other operations
      else
        recorded_.run(*backend_, key, work);
    });
  }
  /// The unweighted losses of the last pass with losses, 16 elements apart; a loss of weight 0 is 0.
  view<const scalar, 1> losses_of_pass() const {
    require_here();
    require(batch_ > 0, "the model has no losses before its first pass");
    return tensor_memory<const scalar>{memory_.data()}[acts_.loss];
  }

 private:
  void require_here() const { require(weights_.size() > 0, "this model was moved: another object holds its weights"); }
  void forget_passes() {
    batch_ = tokens_ = 0;
    recorded_.clear();
    memory_ = storage<scalar>();
    rotary_.forget_places();
    scratch_ = storage<scalar>();
  }

  void draw_weights(std::uint64_t seed) {
    const random_source random(seed);
    std::vector<scalar> host(static_cast<std::size_t>(parameters_type::buffer_size));
    std::uint64_t stream = 0;
    for (const parameter_entry& entry : parameters_type::entries()) {
      const view<scalar, 1> values{host.data() + entry.offset, {entry.size}};
      for (index_type n = 0; n < entry.size; ++n)
        values(n) = static_cast<scalar>(draw(entry.initial, random, stream, static_cast<std::uint64_t>(n)));
      if (entry.initial.distribution == initialisation::kind::directions)
        for (index_type n = 0; n < entry.size; n += entry.shape.back())
          to_length_one(values.slice(n, entry.shape.back()));
      if (entry.initial.distribution == initialisation::kind::identity)
        for (index_type n = 0; n < entry.size; ++n)
          values(n) =
              n / entry.shape.back() == n % entry.shape.back() ? static_cast<scalar>(entry.initial.scale) : scalar{0};
      ++stream;
    }
    upload(*backend_, view<const scalar, 1>{host.data(), {static_cast<index_type>(host.size())}}, weights());
  }
  static double draw(const initialisation& initial, const random_source& random, std::uint64_t stream,
                     std::uint64_t n) {
    switch (initial.distribution) {
      case initialisation::kind::constant:
      case initialisation::kind::identity:
        return initial.scale;
      case initialisation::kind::uniform:
        return initial.scale * (2 * random.uniform(stream, n) - 1);
      case initialisation::kind::normal:
      case initialisation::kind::directions:
        return initial.scale * random.normal(stream, n);
    }
    return 0;
  }

  static void to_length_one(view<scalar, 1> row) {
    scalar squares = 0;
    for (index_type n = 0; n < row.size(); ++n) squares += row(n) * row(n);
    for (index_type n = 0; n < row.size(); ++n) row(n) /= std::sqrt(squares);
  }

  /// Makes room for a pass over the first `tokens` columns of ids. Rows may end before their last place if `may_end`.
  void prepare(view<const token, 2> ids, index_type tokens, bool may_end) {
    if constexpr (F::follows_text) {
      const index_type batch = ids.shape[0];
      require(
          batch > 0 && tokens > 0 && batch <= most_routed_rows / tokens,
          "a pass with boundaries that follow the text numbers tokens in 32 bits: a positive batch and length and at "
          "most ",
          most_routed_rows, " tokens, but was asked for [", batch, ", ", tokens, "]");
      std::vector<token> inputs(static_cast<std::size_t>(batch * tokens));
      // Rules of boundaries see only tokens of the vocabulary.
      for (index_type b = 0; b < batch; ++b)
        for (index_type t = 0; t < tokens; ++t) {
          const token id = ids(b, t);
          if (id != no_token || !may_end) require_token(id, b, t, F::vocabulary);
          inputs[static_cast<std::size_t>(b * tokens + t)] = id;
        }
      cuts_.find(*backend_, {inputs.data(), {batch, tokens}});
      allocate(batch, tokens, cuts_.shapes());
    } else {
      allocate(ids.shape[0], tokens, mean_shapes<D>(ids.shape[0], tokens));
    }
  }
  void allocate(index_type batch, index_type tokens, const stream_shapes<D>& shapes) {
    require(batch > 0 && tokens > 0 && batch <= most_tokens / tokens,
            "a pass needs a positive batch and length and at most ", most_tokens, " tokens, but was asked for [", batch,
            ", ", tokens, "]");
    require_here();
    if (batch == batch_ && tokens == tokens_ && shapes == shapes_) return;
    for (int l = 0; l < F::level_count; ++l)
      require(!F::levels[l].full || shapes[l].longest <= F::levels[l].dilation * longest, "level ", l, " has ",
              shapes[l].longest, " positions, but full attention with xPos allows ", F::levels[l].dilation * longest);
    for (int l = 0; l < F::level_count; ++l)
      require(!F::levels[l].routed() || batch * F::levels[l].positions(tokens) <= most_routed_rows, "level ", l,
              " routes ", batch * F::levels[l].positions(tokens), " positions, but numbers them in 32 bits: at most ",
              most_routed_rows);
    batch_ = tokens_ = 0;  // no shape counts until all memory is there
    recorded_.clear();
    acts_ = plan_activations<D>(losses_, batch, tokens, use_, dropout_, shapes);
    try {
      if (memory_.size() < acts_.memory_size) rotary_.forget_places();
      ensure(memory_, acts_.memory_size);
      ensure(scratch_, acts_.scratch_size);
      ensure(targets_, acts_.targets_size);
      ensure(inputs_, batch * tokens);
      ensure(labels_, batch * tokens);
      ngrams_.reserve(*backend_, batch, tokens, trains);
    } catch (const error& problem) {
      fail("a pass over [", batch, ", ", tokens, "] tokens needs ", acts_.memory_size, " + ", acts_.scratch_size,
           " numbers of ", sizeof(scalar), " bytes for activations: ", problem.what());
    }
    rotary_.upload_to(*backend_, acts_, {memory_.data()});
    batch_ = batch;
    tokens_ = tokens;
    shapes_ = shapes;
  }
  template <class Storage>
  static void ensure(Storage& storage, index_type size) {
    if (storage.size() >= size) return;
    storage = Storage();  // free the old memory first
    storage = Storage(size);
  }

  pass<Backend> make_pass(const forward_options& options) {
    return {*backend_,
            batch_,
            tokens_,
            {std::as_const(*this).weights().data},
            {gradients_.data()},
            {memory_.data()},
            {scratch_.data()},
            {targets_.data()},
            weight_format::float32,
            options.dropout_seed,
            ngrams_.views(),
            cuts_.views()};
  }
  view<const token, 2> inputs() const { return {inputs_.data(), {batch_, tokens_}}; }
  view<const token, 2> labels() const { return {labels_.data(), {batch_, tokens_}}; }

  view<const scalar, 3> kept(const std::array<tensor<3>, F::level_count>& of_levels, int l) const {
    require(l >= 0 && l < F::level_count, "the model has no level ", l, ": it has ", F::level_count);
    require_here();
    require(batch_ > 0, "the model has no embeddings before its first pass");
    return tensor_memory<const scalar>{memory_.data()}[of_levels[static_cast<std::size_t>(l)]];
  }

  /// Checks the ids of [B, first + T] and moves columns first .. first + T - 1 to the backend.
  void take(view<const token, 2> ids, index_type first, typename Backend::template storage<token>& target,
            bool may_end) {
    host_ids_.resize(static_cast<std::size_t>(batch_ * tokens_));
    for (index_type b = 0; b < batch_; ++b)
      for (index_type t = 0; t < tokens_; ++t) {
        const token id = ids(b, first + t);
        if (id != no_token || !may_end) require_token(id, b, first + t, F::vocabulary);
        host_ids_[static_cast<std::size_t>(b * tokens_ + t)] = id;
      }
    upload_tokens(*backend_, view<const token, 1>{host_ids_.data(), {batch_ * tokens_}},
                  view<token, 1>{target.data(), {batch_ * tokens_}});
  }

  /// Prepares for losses of ids [B,T+1]. After the end of a row, embeddings are zero, and no label counts.
  void take_both(view<const token, 2> ids, bool gradients) {
    const phase<Backend> named(*backend_, "batch");
    require(ids.shape[1] >= 2, "a loss needs at least 2 tokens a row, but was given [", ids.shape[0], ", ",
            ids.shape[1], "]");
    for (index_type b = 0; b < ids.shape[0]; ++b)
      for (index_type t = 1; t < ids.shape[1]; ++t)
        require(ids(b, t) == no_token || ids(b, t - 1) != no_token, "row ", b, " goes on after its end: token ", t,
                " follows no token");
    prepare(ids, ids.shape[1] - 1, true);
    take(ids, 1, labels_, true);
    take(ids, 0, inputs_, true);
    find_ngrams(gradients);
  }
  /// Finds the n-grams of the inputs, which `take` was given last.
  void find_ngrams(bool gradients) {
    if constexpr (!F::ngrams.empty()) std::ranges::replace(host_ids_, no_token, token{0});
    const view<const token, 2> ids{host_ids_.data(), {batch_, tokens_}};
    if (ngrams_.find(*backend_, ids, tokens_, gradients)) recorded_.clear();
  }
  /// Changes `p` if it decides boundaries.
  void forward_pass(pass<Backend>& p, const forward_options& options) {
    if constexpr (F::groups == 1)
      strata::forward(p, acts_, layout.network, inputs(), options.merge);
    else
      strata::forward(p, acts_, layout.network, inputs(), options.merge, no_observer(), [&](int l) { decide(p, l); });
  }
  void forward_pass(pass<Backend>&& p, const forward_options& options) { forward_pass(p, options); }
  /// Decides the boundaries of level `l` in the middle of pass `p`, and makes room for the positions.
  void decide(pass<Backend>& p, int l) {
    decide_boundaries(l, p, acts_, cuts_, memory_, scratch_, rotary_, [&](const stream_shapes<D>& shapes) {
      shapes_ = shapes;
      return plan_activations<D>(losses_, batch_, tokens_, use_, dropout_, shapes);
    });
  }
  /// Calls operations only: see `recording`.
  void evaluate(const loss_values<losses_type>& weights, const forward_options& options, double scale, bool gradients) {
    pass<Backend> p = make_pass(options);
    {
      const phase<Backend> named(*backend_, "forward");
      forward_pass(p, options);
    }
    {
      const phase<Backend> named(*backend_, "losses");
      evaluate_losses(p, acts_, losses_, layout.losses, inputs(), labels(), weights, scale, gradients);
    }
    if (!gradients) return;
    const phase<Backend> named(*backend_, "backward");
    strata::backward(p, acts_, layout.network, inputs(), options.merge);
  }
  loss_report<losses_type> report(const loss_values<losses_type>& weights) {
    std::array<scalar, 16 * loss_values<losses_type>::count> host;
    const view<scalar, 1> losses{host.data(), acts_.loss.shape};
    download(*backend_, losses_of_pass(), losses);
    return {view<const scalar, 1>(losses), weights, 1};
  }

  /// This and the shape decide which operations a pass with gradients calls.
  struct pass_key {
    loss_values<losses_type> weights;
    bool merge, drops;
    std::uint64_t dropout_seed;
    double scale;
    bool operator==(const pass_key&) const = default;
  };

  template <class T>
  using storage = typename Backend::template storage<T>;
  static constexpr std::optional<std::uint64_t> default_seed =
      trains ? std::optional<std::uint64_t>(0) : std::optional<std::uint64_t>();
  static constexpr const auto& layout = parameters_type::layout;
  static constexpr index_type longest = rules::longest_full_attention;
  Backend* backend_;
  storage<scalar> weights_, gradients_, memory_, scratch_;
  storage<token> inputs_, labels_, targets_;
  std::vector<token> host_ids_;
  ngram_lookups<D, Backend> ngrams_;
  level_cuts<D, Backend> cuts_;
  losses_type losses_;
  dropout_rates dropout_;
  training_layout<D, losses_type> acts_;
  bool has_weights_ = false;
  activation_use use_ = trains ? activation_use::training : activation_use::inference;
  index_type batch_ = 0, tokens_ = 0;
  stream_shapes<D> shapes_{};
  rotary_tables<D, scalar> rotary_;
  recording<Backend, pass_key> recorded_;
};

/// Replaces a model whose parts do not fit together. It has the members of a model that does, so that the broken rule
/// is the only error.
template <const auto& D, class Backend, class Learns>
class transformer<D, Backend, Learns, false> : public detail::stand_in<Backend, Learns>::template of<transformer> {
 public:
  template <class Losses = inference>
  explicit transformer(Backend&, std::optional<std::uint64_t> = {}, Losses&& = {});
};

}  // namespace strata
