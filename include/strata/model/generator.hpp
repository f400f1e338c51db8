// Generation: one forward pass reads the prompt, then each token costs the same, however long the text is.
// Shapes: ids [B] -> logits [B,V] a step; ids [B,T] -> logits [B,V] for a prompt.
// Source: docs/model.md, "Generation".
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include <strata/layers/rotary.hpp>
#include <strata/model/cache.hpp>
#include <strata/model/ngrams.hpp>
#include <strata/model/packed_weights.hpp>
#include <strata/model/transformer.hpp>

namespace strata::inline STRATA_ABI {

inline void check(const sampling_options& options) {
  require(std::isfinite(options.temperature) && options.temperature >= 0, "temperature must be 0 or positive, not ",
          options.temperature);
  require(options.threshold >= 0 && options.threshold <= 1, "threshold must be between 0 and 1, not ",
          options.threshold);
}

/// Asks for the next position, whatever it is.
struct always {
  constexpr bool operator()(index_type, index_type) const { return true; }
};

struct generator_options {
  /// `float32` uses the model's weights. The compact formats lose a little, and are faster where memory limits the
  /// speed.
  weight_format weights = weight_format::float32;
  bool merge = true;  ///< as the model was trained
};

/// With float32 weights it uses those of the model: the model must outlive it, and changes of the weights take effect.
/// A compact format is a copy, packed once: later changes have no effect, and the model may be destroyed. All texts of
/// a batch advance together.
template <const auto& D, class Backend>
class generator {
 public:
  using scalar = typename Backend::scalar;
  using F = facts<D>;

  template <class Learns>
  explicit generator(const transformer<D, Backend, Learns, true>& model, index_type batch = 1,
                     generator_options options = {})
      : backend_(&model.backend()),
        weights_(model.backend(), model.weights(), parameters<D, Learns>::layout.network,
                 parameters<D, Learns>::regions, options.weights),
        merge_(options.merge),
        batch_(batch) {
    require(batch > 0, "a generator needs a positive batch, not ", batch);
    require(batch <= most_texts, "a generator needs a batch of at most ", most_texts, " texts, not ", batch);
    exclusively(*backend_, "a generator", [&] { allocate(); });
  }
  /// The generator would outlive this model.
  template <class Learns, bool Fits>
  explicit generator(const transformer<D, Backend, Learns, Fits>&& model, index_type batch = 1,
                     generator_options options = {}) = delete;

  index_type batch() const { return batch_; }
  /// Number of tokens read of each text.
  index_type position() const { return position_; }

  /// Forgets all texts.
  void reset() {
    require_batch(batch_);
    exclusively(*backend_, "a generator", [&] {
      position_ = 0;
      host_recent_.assign(static_cast<std::size_t>(batch_ * recent_tokens), -1);
      fill(*backend_, scalar{0}, cache_.view().slice(cached_.constants, cached_.size - cached_.constants));
      whole_ = true;
    });
  }

  /// Reads one token of every text, ids [B]. Returns the logits of the next token, [B,V], on the host, valid until the
  /// next step.
  view<const scalar, 2> step(view<const token, 1> ids) {
    require_batch(ids.shape[0]);
    require_whole();
    for (index_type b = 0; b < batch_; ++b) require_token(ids(b), b, position_, F::vocabulary);
    return exclusively(*backend_, "a step of a generator", [&] {
      upload_tokens(*backend_, ids, newest_.view());
      advance(ids);
      return logits_on_host();
    });
  }

  /// Reads tokens of every text, ids [B,T]. Returns what `step` returns after the last one. At position 0, one forward
  /// pass reads up to `max_length` tokens and needs memory for its activations. The others are read one by one.
  view<const scalar, 2> read(view<const token, 2> ids) {
    require_batch(ids.shape[0]);
    require_whole();
    const index_type tokens = ids.shape[1];
    require(tokens > 0, "no tokens were given to read");
    for (index_type b = 0; b < batch_; ++b)
      for (index_type t = 0; t < tokens; ++t) require_token(ids(b, t), b, position_ + t, F::vocabulary);
    return exclusively(*backend_, "reading a prompt", [&] {
      take_in(ids);
      return logits_on_host();
    });
  }

  /// Resets, reads one prompt a text and calls `sink(row, token)` for each of the `count` generated tokens. Prompts may
  /// differ in length and exceed `max_length`; each needs at least one token. The token after position t (from 0) is
  /// drawn with counter t. Logits that are not numbers are an error. After the forward pass over the prompts, it asks
  /// `go_on(position, end)` before each position, and ends if that is false: for progress bars, and to stop early.
  template <class Sink, class GoOn = always>
  void generate(std::span<const std::vector<token>> prompts, index_type count, const sampling_options& options,
                Sink sink, GoOn go_on = {}) {
    check(options);
    require(count >= 0 && count <= most_tokens, "the number of tokens to generate must be from 0 to ", most_tokens,
            ", not ", count);
    require(static_cast<index_type>(prompts.size()) == batch_, prompts.size(), " prompts were given for a batch of ",
            batch_);
    require_batch(batch_);
    index_type longest = 0, shortest = std::numeric_limits<index_type>::max();
    for (std::size_t row = 0; row < prompts.size(); ++row) {
      require(!prompts[row].empty(), "prompt ", row, " is empty; it needs at least one token");
      for (std::size_t t = 0; t < prompts[row].size(); ++t)
        require_token(prompts[row][t], static_cast<index_type>(row), static_cast<index_type>(t), F::vocabulary);
      longest = std::max(longest, static_cast<index_type>(prompts[row].size()));
      shortest = std::min(shortest, static_cast<index_type>(prompts[row].size()));
    }
    exclusively(*backend_, "generation",
                [&] { continue_prompts(prompts, longest, shortest, count, options, sink, go_on); });
  }

 private:
  template <class Sink, class GoOn>
  void continue_prompts(std::span<const std::vector<token>> prompts, index_type longest, index_type shortest,
                        index_type count, const sampling_options& options, Sink& sink, GoOn& go_on) {
    reset();
    if (longest - 1 + count < shortest) return;  // nothing to generate, and all prompts are equally long
    const index_type at_once = std::min<index_type>(shortest, F::max_length), end = longest + count;
    std::vector<token> ids;  // first of the forward pass, then one token a text
    for (const std::vector<token>& prompt : prompts) ids.insert(ids.end(), prompt.begin(), prompt.begin() + at_once);
    take_in({ids.data(), {batch_, at_once}});
    ids.resize(prompts.size());
    while (go_on(position_, end)) {
      if (position_ >= shortest) {
        sample(*backend_, options, static_cast<std::uint64_t>(position_ - 1), logits().rows(), newest_.view());
        download_tokens(*backend_, newest_.view(), {ids.data(), {batch_}});
      }
      bool some_read = false;
      for (std::size_t row = 0; row < prompts.size(); ++row) {
        const index_type generated = position_ - static_cast<index_type>(prompts[row].size());
        if (generated < 0) {
          ids[row] = prompts[row][static_cast<std::size_t>(position_)];
          some_read = true;
        } else if (generated < count) {
          require(ids[row] >= 0, "the logits of text ", row, " after position ", position_ - 1, " are not numbers");
          sink(static_cast<index_type>(row), ids[row]);
        }
      }
      if (position_ + 1 == end) return;
      if (some_read) upload_tokens(*backend_, {ids.data(), {batch_}}, newest_.view());
      advance({ids.data(), {batch_}});
    }
  }

  template <class T>
  using storage = typename Backend::template storage<T>;
  /// Sizes stay far from overflow, and routing numbers the positions of a prompt in 32 bits.
  static constexpr index_type most_texts = most_routed_rows / F::max_length;
  /// Whether convolutions read the embeddings of the last tokens.
  static constexpr bool reads_recent = !F::hourglass && F::largest_compression > 1;
  static constexpr bool has_ngrams = !F::ngrams.empty();
  static constexpr int tables = static_cast<int>(F::ngrams.size());
  /// Tokens of a text that later steps need: of convolutions, and of the n-grams that end at those.
  static constexpr index_type recent_tokens = F::largest_compression + F::longest_ngram - 1;
  /// Strides are powers of two: after `period` positions the same levels are active again.
  static constexpr int period = [] {
    int longest = 1;
    for (const level_facts& level : F::levels) longest = std::max(longest, level.stride);
    return longest;
  }();

  tensor_memory<scalar> cache() { return {cache_.data()}; }
  /// Whether level `l` has a position at the current token.
  bool active(int l) const { return position_ % F::levels[l].stride == 0; }

  /// Places the rows of n-grams in `ngram_rows_`: for each table [B] of the newest tokens, then, for tables of the token
  /// embedding, [B,largest c] of the tokens that convolutions read.
  void plan_ngrams() {
    index_type size = 0;
    const auto place = [&](std::array<index_type, F::ngrams.size()>& first, index_type count, bool all) {
      for (int k = 0; k < tables; ++k) {
        first[k] = size;
        if (all || F::ngrams[k].level < 0) size += count;
      }
    };
    place(newest_rows_, batch_, true);
    if (reads_recent) place(recent_rows_, batch_ * F::largest_compression, false);
    host_rows_.resize(static_cast<std::size_t>(size));
    ngram_rows_ = storage<token>(size);
    for (int k = 0; k < tables; ++k) {
      newest_lookups_[k].rows = {ngram_rows_.data() + newest_rows_[k], {batch_}};
      if (reads_recent && F::ngrams[k].level < 0)
        recent_lookups_[k].rows = {ngram_rows_.data() + recent_rows_[k], {batch_ * F::largest_compression}};
    }
  }
  void find_ngrams() {
    for (int k = 0; k < tables; ++k)
      for (index_type b = 0; b < batch_; ++b) {
        const std::span<const token> recent(host_recent_.data() + b * recent_tokens, recent_tokens);
        const auto find = [&](index_type first, token* rows, index_type count) {
          find_ngram_rows(F::ngrams[k], F::vocabulary, recent, first, {rows, static_cast<std::size_t>(count)});
        };
        constexpr index_type width = F::largest_compression;
        find(recent_tokens - 1, host_rows_.data() + newest_rows_[k] + b, 1);
        if (reads_recent && F::ngrams[k].level < 0)
          find(recent_tokens - width, host_rows_.data() + recent_rows_[k] + b * width, width);
      }
    upload_tokens(*backend_, {host_rows_.data(), {ngram_rows_.size()}}, ngram_rows_.view());
  }

  void allocate() {
    if constexpr (has_ngrams) plan_ngrams();
    acts_ = plan_inference<D>(batch_, 1);
    cached_ = plan_cache<D>(batch_);
    memory_ = storage<scalar>(acts_.memory_size);
    scratch_ = storage<scalar>(acts_.scratch_size);
    cache_ = storage<scalar>(cached_.size);
    rows_ = storage<token>(acts_.rows_size);
    newest_ = storage<token>(batch_);
    recent_ = storage<token>(batch_ * F::largest_compression);
    host_window_.resize(static_cast<std::size_t>(batch_ * F::largest_compression));
    host_logits_.resize(static_cast<std::size_t>(batch_ * F::vocabulary));
    for (int l = 0; l < F::level_count; ++l) {
      if (!cached_.distance[l]) continue;
      const std::vector<scalar> table = rotary_distance_table<scalar>(F::levels[l]);
      upload(*backend_, view<const scalar, 1>{table.data(), {static_cast<index_type>(table.size())}},
             cache()[cached_.distance[l]].flat());
    }
    reset();
  }
  void require_whole() const {
    require(whole_, "an earlier call of this generator failed half way: call reset() before the next one");
  }
  void require_batch(index_type texts) const {
    require(cache_.size() > 0, "this generator was moved: another object holds its texts");
    require(texts == batch_, "tokens of ", texts, " texts were given for a batch of ", batch_);
  }
  /// Appends a token to the recent tokens of text `b`.
  void remember(index_type b, token id) {
    const auto row = host_recent_.begin() + b * recent_tokens;
    std::copy(row + 1, row + recent_tokens, row);
    row[recent_tokens - 1] = id;
  }
  /// Logits of the next token, [B,1,V].
  view<scalar, 3> logits() { return tensor_memory<scalar>{memory_.data()}[acts_.head.logits]; }
  view<const scalar, 2> logits_on_host() {
    download(*backend_, logits().flat(), view<scalar, 1>{host_logits_.data(), {batch_ * F::vocabulary}});
    return {host_logits_.data(), {batch_, F::vocabulary}};
  }

  /// Reads one token of every text, ids [B], which `newest_` already holds.
  void advance(view<const token, 1> ids) {
    whole_ = false;
    for (index_type b = 0; b < batch_; ++b) remember(b, ids(b));
    if (reads_recent) {
      constexpr index_type width = F::largest_compression;
      for (index_type b = 0; b < batch_; ++b)
        std::copy_n(host_recent_.begin() + (b + 1) * recent_tokens - width, width, host_window_.begin() + b * width);
      upload_tokens(*backend_, {host_window_.data(), {batch_ * width}}, recent_.view());
    }
    if constexpr (has_ngrams) find_ngrams();
    const phase<Backend> named(*backend_, "decoding step");
    steps_[static_cast<std::size_t>(position_ % period)].run(*backend_, position_, [&] { enqueue_step(); });
    ++position_;
    whole_ = true;
  }
  /// A pass over one token of every text.
  pass<Backend> step_pass() {
    return {*backend_,
            batch_,
            1,
            weights_.memory(),
            {},
            {memory_.data()},
            {scratch_.data()},
            {rows_.data()},
            weights_.format(),
            {},
            newest_lookups_};
  }
  /// The operations of one step, from the tokens in `newest_` and `recent_` to the logits.
  void enqueue_step() {
    const pass<Backend> p = step_pass();
    const parameter_layout<D>& own = weights_.layout();
    embedding_forward(p, own.embedding, newest_.view(), p.memory[acts_.tokens].rows());
    ngrams_forward(p, F::ngrams, -1, own.ngrams, newest_lookups_, p.memory[acts_.tokens].rows());
    if (reads_recent) {
      embedding_forward(p, own.embedding, recent_.view(), cache()[cached_.window].rows());
      ngrams_forward(p, F::ngrams, -1, own.ngrams, recent_lookups_, cache()[cached_.window].rows());
    }
    for (int i = 0; i < F::depth; ++i) {
      for (int l = 0; l < F::level_count; ++l)
        if (F::first_layer(l) == i) enter_level_step(p, l);
      if (i == F::upsample_layer)
        upsample_step(p, F::levels[F::coarse], own.upsample, acts_.upsample, merge_, position_,
                      cache()[cached_.upsample]);
      for (int l = 0; l < F::level_count; ++l)
        if (active(l) && F::runs(i, l)) block_step(p, i, l);
      if (F::merges && merge_) merge_step(p, i);
    }
    for (int l = 0; l < F::level_count; ++l)
      if (active(l))
        norm_forward(p, own.final_norm[l], acts_.final_norm[l], p.memory[acts_.last_stream[l]], 0,
                     p.memory[acts_.embedding[l]]);
    head_forward(p, F::levels, F::predicting_level, own.head, acts_.head, final_embeddings(p, acts_));
  }

  /// Reads tokens of every text, ids [B,T]: see `read`.
  void take_in(view<const token, 2> ids) {
    const index_type tokens = ids.shape[1];
    const index_type at_once = position_ == 0 && tokens > 1 ? std::min<index_type>(tokens, F::max_length) : 0;
    std::vector<token> some(static_cast<std::size_t>(batch_ * std::max<index_type>(at_once, 1)));
    const auto take = [&](index_type first, index_type count) {
      for (index_type b = 0; b < batch_; ++b) std::copy_n(&ids(b, first), count, some.begin() + b * count);
    };
    if (at_once > 0) {
      take(0, at_once);
      read_at_once({some.data(), {batch_, at_once}});
    }
    for (index_type t = at_once; t < tokens; ++t) {
      take(t, 1);
      whole_ = false;
      upload_tokens(*backend_, {some.data(), {batch_}}, newest_.view());
      advance({some.data(), {batch_}});
    }
  }

  /// Reads the first tokens of every text, ids [B,T], in one forward pass. Leaves the same state as T steps.
  void read_at_once(view<const token, 2> ids) {
    const index_type tokens = ids.shape[1];
    const activation_layout<D> acts = plan_inference<D>(batch_, tokens);
    storage<scalar> memory(acts.memory_size), scratch(acts.scratch_size);
    storage<token> inputs(ids.size()), rows(acts.rows_size);
    ngram_lookups<D, Backend> ngrams;
    ngrams.reserve(*backend_, batch_, tokens, false);
    ngrams.find(*backend_, ids, tokens, false);
    const pass<Backend> p{*backend_,       batch_,           tokens,        weights_.memory(), {},
                          {memory.data()}, {scratch.data()}, {rows.data()}, weights_.format(), {},
                          ngrams.views()};
    upload_rotary_tables(*backend_, acts, p.memory);
    upload_tokens(*backend_, ids.flat(), inputs.view());
    whole_ = false;
    forward(p, acts, weights_.layout(), {inputs.data(), ids.shape}, merge_, keeper{*this, p, acts});

    const tensor_memory<scalar> own{memory_.data()};
    if (F::hourglass && merge_) {
      const auto newest = own[acts_.upsample.coarse];
      keep_last(*backend_, p.memory[acts.upsample.coarse], 0, 1, 0, newest);
      upsample_keep(p, F::levels[F::coarse], weights_.layout().upsample, acts.upsample, newest,
                    cache()[cached_.upsample]);
    }
    for (int l = 0; l < F::level_count; ++l) {
      keep_last(*backend_, p.memory[acts.embedding[l]], 0, 1, 0, own[acts_.embedding[l]]);
      if (!F::levels[l].pools) continue;
      const auto ring = cache()[cached_.pooled[l]];
      attention_resampling_keep_last(p, acts.compress[l].pooling.resampling, ring);
    }
    keep_last(*backend_, p.memory[acts.head.logits], 0, 1, 0, logits());
    for (index_type b = 0; b < batch_; ++b)
      for (index_type t = std::max<index_type>(0, tokens - recent_tokens); t < tokens; ++t) remember(b, ids(b, t));
    position_ = tokens;
    whole_ = true;
  }
  /// Saves from a forward pass what later steps need.
  struct keeper {
    generator& own;
    const pass<Backend>& p;
    const activation_layout<D>& acts;
    void after_blocks(int i) const {
      for (int l = 0; l < F::level_count; ++l)
        if (F::runs(i, l)) own.keep_block(p, acts.layers[i].blocks[l], i, l);
      // Token t has slot (t - 1) mod c: so c tokens that end at a multiple of c are in order.
      if (F::hourglass && i == F::first_layer(F::coarse) && !F::levels[F::coarse].pools)
        keep_last(p.backend, p.memory[acts.source[F::coarse]], 1, 1, 0, own.cache()[own.cached_.window]);
    }
    void after_merge(int i) const {
      keep_merge_cache(chosen_merge<D>, p, acts.layers[i].merge, own.cached_.layers[i].merge, own.cache());
    }
  };
  /// Saves from a forward pass what later steps of block `l` in layer `i` need.
  void keep_block(const pass<Backend>& p, const block_activations& acts, int i, int l) {
    const level_facts& level = F::levels[l];
    const auto& cached = cached_.layers[i];
    const index_type positions = acts.x.shape[1], dim = level.attention_dim();
    const block_parameters& own = weights_.layout().layers[i].blocks[l];
    const block_activations& of_step = acts_.layers[i].blocks[l];
    const auto keep_shift = [&](const token_shift_parameters& shift, const token_shift_activations& shift_acts,
                                const tensor<3>& rows, int sequence, view<scalar, 2> previous) {
      if (sequence >= positions) return;  // the sequence has no position yet
      const auto last = previous.template reshape<3>({batch_, 1, index_type{level.dim}});
      keep_last(*backend_, p.memory[rows], sequence, level.dilation, 0, last);
      token_shift_keep(step_pass(), shift, shift_acts, cache()[cached_.shifted[l]], last);
    };
    for (int sequence = 0; sequence < level.dilation; ++sequence) {
      keep_shift(own.feed_forward.input, of_step.feed_forward.input, acts.middle, sequence,
                 cache()[cached.before_feed_forward[l]][sequence]);
      if (level.span == 0) continue;
      keep_shift(own.attention.input, of_step.attention.input, acts.x, sequence,
                 cache()[cached.before_attention[l]][sequence]);
      const auto qkv = p.memory[acts.attention.qkv].template reshape<3>({batch_, positions, 3 * dim});
      keep_last(*backend_, qkv, sequence, level.dilation, dim, cache()[cached.keys[l]][sequence]);
      keep_last(*backend_, qkv, sequence, level.dilation, 2 * dim, cache()[cached.values[l]][sequence]);
    }
    if (level.routed())
      copy(*backend_, p.memory[acts.feed_forward.routed.budget].flat(), cache()[cached.budget[l]].flat());
    if (cached.current[l]) keep_last(*backend_, p.memory[acts.y], 0, 1, 0, cache()[cached.current[l]]);
  }

  /// As `enter_level`, on the last tokens. In an hourglass it first stores the current fine stream.
  void enter_level_step(const pass<Backend>& p, int l) {
    const level_facts& level = F::levels[l];
    const auto window = cache()[cached_.window];
    const index_type width = F::largest_compression;
    const parameter_layout<D>& own = weights_.layout();
    if (level.pools) {
      attention_pooling_step(p, level, own.compress[l].pooling, acts_.compress[l].pooling, position_,
                             cache()[cached_.pooled[l]], p.memory[acts_.source[l]], p.memory[acts_.compress[l].y]);
    } else if (F::hourglass && level.compressed()) {
      const auto side_by_side = window.template reshape<3>({batch_, 1, width * F::embedding_dim});
      const index_type slot = (position_ + width - 1) % width;
      repeat(*backend_, p.memory[acts_.source[l]], 1, slot * F::embedding_dim, side_by_side);
    }
    if (!active(l)) return;
    if (!level.pools)
      compress_forward(p, level, own.compress[l], acts_.compress[l],
                       level.compressed() ? window : p.memory[acts_.tokens], width - 1);
    ngrams_forward(p, F::ngrams, l, own.ngrams, newest_lookups_, p.memory[acts_.compress[l].y].rows());
    norm_forward(p, own.embedding_norm[l], acts_.embedding_norm[l], p.memory[acts_.compress[l].y], 0,
                 p.memory[acts_.token_embedding[l]]);
  }

  void block_step(const pass<Backend>& p, int i, int l) {
    const level_facts& level = F::levels[l];
    const block_parameters& own = weights_.layout().layers[i].blocks[l];
    const block_activations& acts = acts_.layers[i].blocks[l];
    const auto& cached = cached_.layers[i];
    const index_type level_position = position_ / level.stride;
    const index_type sequence = level_position % level.dilation, count = level_position / level.dilation;
    const auto shifted = cache()[cached_.shifted[l]];
    const auto y = p.memory[acts.y];
    if (level.span > 0)
      attention_step(p, level, own.attention, acts.attention, cache()[cached_.distance[l]], count,
                     cache()[cached.keys[l]][sequence], cache()[cached.values[l]][sequence],
                     cache()[cached.before_attention[l]][sequence], shifted, p.memory[acts.x], p.memory[acts.middle]);
    const auto budget = level.routed() ? cache()[cached.budget[l]].slice(sequence, 1) : view<scalar, 2>{};
    feed_forward_step(p, level, own.feed_forward, acts.feed_forward, count, budget,
                      cache()[cached.before_feed_forward[l]][sequence], shifted, p.memory[acts.middle], y);
    if (cached.current[l]) copy(*backend_, y.flat(), cache()[cached.current[l]].flat());
  }

  void merge_step(const pass<Backend>& p, int i) {
    const auto& cached = cached_.layers[i];
    const auto stream = streams_after(p, acts_, i);
    auto current = stream;
    for (int l = 0; l < F::level_count; ++l)
      if (cached.current[l]) current[l] = cache()[cached.current[l]];
    merge_one_token(chosen_merge<D>, p, weights_.layout().layers[i].merge, acts_.layers[i].merge, cached.merge, cache(),
                    position_, current, stream);
  }

  Backend* backend_;
  packed_weights<D, Backend> weights_;
  bool merge_;
  index_type batch_;
  index_type position_ = 0;
  bool whole_ = true;  // false after a call that failed half way
  activation_layout<D> acts_;
  cache_layout<D> cached_;
  storage<scalar> memory_, scratch_, cache_;
  storage<token> rows_, newest_, recent_;
  std::vector<token> host_recent_, host_window_;  // [B,recent tokens]; of these the last [B,largest c]
  storage<token> ngram_rows_;
  std::vector<token> host_rows_;
  std::array<index_type, F::ngrams.size()> newest_rows_{}, recent_rows_{};
  std::array<ngram_lookup<scalar>, F::ngrams.size()> newest_lookups_{}, recent_lookups_{};
  std::vector<scalar> host_logits_;
  std::array<recording<Backend, index_type>, period> steps_;  // by position % period; the key is the position
};

}  // namespace strata
