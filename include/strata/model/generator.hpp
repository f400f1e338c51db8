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
#include <strata/model/cuts.hpp>
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
      rows_of_levels_.fill(std::vector<level_row>(static_cast<std::size_t>(batch_)));
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
  static constexpr index_type recent_tokens = [] {
    index_type most = F::largest_compression + F::longest_ngram - 1;
    for (const level_facts& level : F::levels)
      if (level.rule != nullptr) most = std::max(most, index_type{level.rule->reach});
    return most;
  }();
  /// Strides are powers of two: after `period` positions the same levels are active again.
  static constexpr int period = [] {
    int longest = 1;
    for (const level_facts& level : F::levels)
      if (!level.ragged) longest = std::max(longest, level.stride);
    return longest;
  }();

  /// What the host knows of a text at a level whose boundaries follow it.
  struct level_row {
    index_type count = 0;  ///< positions so far
    bool pending = false;  ///< as in `text_cuts`
    bool begins = false;   ///< whether a position begins at the newest token
    index_type since = 0;  ///< positions of the finer level since the newest position began
    scalar p = 0;          ///< if boundaries are learned, the probability of one here
  };
  /// Notes at which levels a rule holds at the newest token of each text.
  void look_at_newest() {
    for (int l = 0; l < F::level_count; ++l)
      for (index_type b = 0; F::levels[l].ragged && b < batch_; ++b) {
        level_row& own = rows_of_levels_[l][static_cast<std::size_t>(b)];
        own.begins = false;
        if (F::levels[l].rule == nullptr) continue;
        const std::span<const token> recent(host_recent_.data() + b * recent_tokens, recent_tokens);
        // Before the start of a text there is no token.
        const auto known = static_cast<std::size_t>(std::min<index_type>(position_ + 1, recent_tokens));
        if (rule_holds(*F::levels[l].rule, recent.last(known))) own.pending = true;
      }
  }
  /// Whether a position of level `l` begins at the newest position of the finer level, which text `b` has just got.
  bool begins_now(int l, index_type b) {
    const level_facts& level = F::levels[l];
    level_row& own = rows_of_levels_[l][static_cast<std::size_t>(b)];
    const index_type source = level.from >= 0 && F::levels[level.from].ragged
                                  ? rows_of_levels_[level.from][static_cast<std::size_t>(b)].count - 1
                                  : source_position(l);
    const bool by_model = level.learned_boundaries && begins_position(own.p);
    own.begins = own.count == 0 || own.pending || level.begins_by_stride(source) || by_model;
    if (own.begins)
      own.pending = false, ++own.count, own.since = 0;
    else
      ++own.since;
    return own.begins;
  }
  /// Of texts first, first + 1, .. at level `l`, whose boundaries are learned: source [count,d'].
  void find_probabilities(const pass<Backend>& p, int l, index_type first, input<scalar, 2> source) {
    const boundary_parameters& own = weights_.layout().boundaries[l];
    const index_type count = source.shape[0];
    const auto queries = cache()[cached_.boundary_queries[l]].slice(first, count);
    const auto keys = cache()[cached_.boundary_keys[l]].slice(first, count);
    const auto both = cache()[cached_.boundary_p[l]].slice(first, count);
    const auto now = [](const view<scalar, 3>& pairs, index_type b, index_type row) { return pairs[b].slice(row, 1); };
    for (index_type b = 0; b < count; ++b)
      linear(p, source.slice(b, 1), own.query, {}, now(queries, b, 1), update::replace);
    boundary_probability(*backend_, queries, keys, both.template reshape<2>({count, 2}));
    for (index_type b = 0; b < count; ++b) linear(p, source.slice(b, 1), own.key, {}, now(keys, b, 0), update::replace);
    std::vector<scalar> host(static_cast<std::size_t>(2 * count));
    download(*backend_, both.flat(), view<scalar, 1>{host.data(), {2 * count}});
    for (index_type b = 0; b < count; ++b) {
      level_row& row = rows_of_levels_[l][static_cast<std::size_t>(first + b)];
      row.p = row.count == 0 ? scalar{1} : host[static_cast<std::size_t>(2 * b + 1)];
    }
  }

  tensor_memory<scalar> cache() { return {cache_.data()}; }
  /// Whether level `l` has a position at the current token.
  bool active(int l) const { return !F::levels[l].ragged && position_ % F::levels[l].stride == 0; }

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
    if constexpr (F::follows_text) {
      row_acts_ = plan_inference<D>(1, 1);
      row_memory_ = storage<scalar>(row_acts_.memory_size);
      row_scratch_ = storage<scalar>(row_acts_.scratch_size);
    }
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
    if constexpr (F::follows_text) {
      look_at_newest();
      enqueue_step();  // other operations at other boundaries, so there is nothing to record
    } else
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
      for (int l = 0; l < F::level_count; ++l) {
        if (F::first_layer(l) != i) continue;
        if (F::levels[l].ragged)
          step_rows(l);
        else
          enter_level_step(p, l);
      }
      for (int l = 0; l < F::level_count; ++l) {
        if (F::upsample_layer(l) != i || !has_source(l)) continue;
        if (F::levels[l].ragged)
          add_kept(p, acts_, l, 0, batch_);
        else
          upsample_step(p, F::levels[l], own.upsample[l], acts_.upsample[l], merge_, source_position(l),
                        cache()[cached_.upsample[l]]);
      }
      for (int l = 0; l < F::level_count; ++l)
        if (F::merges && F::levels[l].ragged)
          step_blocks_of_rows(i, l);
        else if (active(l) && F::runs(i, l))
          block_step(p, acts_, i, l, position_ / F::levels[l].stride, 0, batch_);
      if (F::merges && merge_) merge_step(p, i);
    }
    for (int l = 0; l < F::level_count; ++l)
      if (active(l)) leave_level(p, acts_, l, own);
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
    level_cuts<D, Backend> cuts;
    cuts.find(*backend_, ids);
    activation_layout<D> acts =
        plan_activations<D>(losses<>(), batch_, tokens, activation_use::inference, {}, cuts.shapes());
    storage<scalar> memory(acts.memory_size), scratch(acts.scratch_size);
    storage<token> inputs(ids.size()), rows(acts.rows_size);
    ngram_lookups<D, Backend> ngrams;
    ngrams.reserve(*backend_, batch_, tokens, false);
    ngrams.find(*backend_, ids, tokens, false);
    pass<Backend> p{*backend_,       batch_,           tokens,        weights_.memory(), {},
                    {memory.data()}, {scratch.data()}, {rows.data()}, weights_.format(), {},
                    ngrams.views(),  cuts.views()};
    rotary_tables<D, scalar> rotary;
    rotary.upload_to(*backend_, acts, p.memory);
    upload_tokens(*backend_, ids.flat(), inputs.view());
    whole_ = false;
    const auto decide = [&](int l) {
      decide_boundaries(l, p, acts, cuts, memory, scratch, rotary, [&](const stream_shapes<D>& shapes) {
        return plan_activations<D>(losses<>(), batch_, tokens, activation_use::inference, {}, shapes);
      });
    };
    if constexpr (F::groups == 1)
      forward(p, acts, weights_.layout(), {inputs.data(), ids.shape}, merge_, keeper{*this, p, acts, cuts});
    else
      forward(p, acts, weights_.layout(), {inputs.data(), ids.shape}, merge_, keeper{*this, p, acts, cuts}, decide);

    const tensor_memory<scalar> own{memory_.data()};
    for (int l = 0; l < F::level_count; ++l) {
      if (F::levels[l].ragged) keep_newest(p, acts, cuts, l);
      if (F::levels[l].from < 0 || F::levels[l].ragged || !merge_) continue;
      const auto newest = own[acts_.upsample[l].coarse];
      keep_last(*backend_, p.memory[acts.upsample[l].coarse], 0, 1, 0, newest);
      upsample_keep(p, F::levels[l], weights_.layout().upsample[l], acts.upsample[l], newest,
                    cache()[cached_.upsample[l]]);
    }
    for (int l = 0; l < F::level_count; ++l) {
      if (F::levels[l].ragged) continue;
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
    const level_cuts<D, Backend>& cuts;
    void after_blocks(int i) const {
      for (int l = 0; l < F::level_count; ++l)
        if (F::runs(i, l)) own.keep_block(p, acts.layers[i].blocks[l], i, l, cuts);
      // Position t has slot (t - 1) mod c: so c positions that end at a multiple of c are in order.
      for (int l = 0; l < F::level_count; ++l)
        if (F::levels[l].from >= 0 && i == F::first_layer(l) && !F::levels[l].pools && !F::levels[l].ragged)
          keep_last(p.backend, p.memory[acts.source[l]], 1, 1, 0, own.cache()[own.cached_.last_finer[l]]);
    }
    void after_merge(int i) const {
      keep_merge_cache(chosen_merge<D>, p, acts.layers[i].merge, own.cached_.layers[i].merge, own.cache());
    }
  };
  /// `keep_last` of each text.
  void keep_last_of_texts(view<scalar, 3> x, int sequence, int l, const level_cuts<D, Backend>& cuts, index_type column,
                          view<scalar, 3> ring) {
    if (!F::levels[l].ragged) return keep_last(*backend_, x, sequence, F::levels[l].dilation, column, ring);
    const std::span<const index_type> texts = cuts.views()[static_cast<std::size_t>(l)].texts;
    for (std::size_t b = 0; b + 1 < texts.size(); ++b)
      keep_last(*backend_, text_rows{texts[b], 1, texts[b + 1] - texts[b]}.of(x), sequence, 1, column,
                ring.slice(static_cast<index_type>(b), 1));
  }
  /// Of level `l`, whose boundaries follow the text: what the newest position of each text adds, and what the host knows.
  void keep_newest(const pass<Backend>& p, const activation_layout<D>& acts, const level_cuts<D, Backend>& cuts,
                   int l) {
    for (index_type b = 0; b < batch_; ++b) {
      const text_cuts& own = cuts.of_texts(l)[static_cast<std::size_t>(b)];
      level_row& row = rows_of_levels_[l][static_cast<std::size_t>(b)];
      row.count = static_cast<index_type>(own.source.size());
      row.pending = own.pending;
      if (F::levels[l].from < 0) continue;
      const std::span<const index_type> of_source = cuts.views()[static_cast<std::size_t>(F::levels[l].from)].texts;
      const index_type sources =
          of_source.empty() ? cuts.shapes()[F::levels[l].from].positions
                            : of_source[static_cast<std::size_t>(b) + 1] - of_source[static_cast<std::size_t>(b)];
      row.since = sources - 1 - own.source.back();
      const index_type last = cuts.views()[static_cast<std::size_t>(l)].texts[static_cast<std::size_t>(b) + 1] - 1;
      view<const scalar, 3> newest = text_rows{last, 1, 1}.of(p.memory[acts.upsample[l].coarse]);
      if (F::levels[l].learned_boundaries) {
        const boundary_activations& of_level = acts.boundaries[l];
        newest = text_rows{last, 1, 1}.of(p.memory[of_level.smoothed]);
        copy(*backend_, newest.flat(), cache()[cached_.smoothed[l]].slice(b, 1).flat());
        const index_type last_source =
            of_source.empty() ? (b + 1) * sources - 1 : of_source[static_cast<std::size_t>(b) + 1] - 1;
        copy(*backend_, p.memory[of_level.key].rows().slice(last_source, 1).flat(),
             cache()[cached_.boundary_keys[l]][b].slice(0, 1).flat());
      }
      upsample_keep_newest(p, F::levels[l], weights_.layout().upsample[l], newest,
                           cache()[cached_.upsample[l]].slice(b, 1));
    }
  }
  /// Saves from a forward pass what later steps of block `l` in layer `i` need.
  void keep_block(const pass<Backend>& p, const block_activations& acts, int i, int l,
                  const level_cuts<D, Backend>& cuts) {
    const level_facts& level = F::levels[l];
    const auto& cached = cached_.layers[i];
    const index_type positions = acts.x.shape[1], dim = level.attention_dim();
    const block_parameters& own = weights_.layout().layers[i].blocks[l];
    const block_activations& of_step = acts_.layers[i].blocks[l];
    const auto keep_shift = [&](const token_shift_parameters& shift, const token_shift_activations& shift_acts,
                                const tensor<3>& rows, int sequence, view<scalar, 2> previous) {
      if (sequence >= positions) return;  // the sequence has no position yet
      const auto last = previous.template reshape<3>({batch_, 1, index_type{level.dim}});
      keep_last_of_texts(p.memory[rows], sequence, l, cuts, 0, last);
      token_shift_keep(step_pass(), shift, shift_acts, cache()[cached_.shifted[l]], last);
    };
    for (int sequence = 0; sequence < level.dilation; ++sequence) {
      keep_shift(own.feed_forward.input, of_step.feed_forward.input, acts.middle, sequence,
                 cache()[cached.before_feed_forward[l]][sequence]);
      if (level.span == 0) continue;
      keep_shift(own.attention.input, of_step.attention.input, acts.x, sequence,
                 cache()[cached.before_attention[l]][sequence]);
      const auto qkv = p.memory[acts.attention.qkv].template reshape<3>({acts.x.shape[0], positions, 3 * dim});
      keep_last_of_texts(qkv, sequence, l, cuts, dim, cache()[cached.keys[l]][sequence]);
      keep_last_of_texts(qkv, sequence, l, cuts, 2 * dim, cache()[cached.values[l]][sequence]);
    }
    if (level.routed())
      copy(*backend_, p.memory[acts.feed_forward.routed.budget].flat(), cache()[cached.budget[l]].flat());
    if (cached.current[l] && level.ragged)
      keep_last_of_texts(p.memory[acts.y], 0, l, cuts, 0, cache()[cached.current[l]]);
    else if (cached.current[l])
      keep_last(*backend_, p.memory[acts.y], 0, 1, 0, cache()[cached.current[l]]);
  }

  /// Whether the source of level `l` has a position at the current token, and the number of its newest position.
  bool has_source(int l) const { return F::levels[l].from < 0 || active(F::levels[l].from); }  // for the batch
  index_type source_position(int l) const {
    return F::levels[l].from < 0 ? position_ : position_ / F::levels[F::levels[l].from].stride;
  }

  /// As `enter_level`, on the last positions of the source. In an hourglass it first stores the newest one.
  void enter_level_step(const pass<Backend>& p, int l) {
    const level_facts& level = F::levels[l];
    const bool nested = level.from >= 0;
    const index_type width = nested ? level.shortens : F::largest_compression;
    const parameter_layout<D>& own = weights_.layout();
    if (!has_source(l)) return;
    if (level.pools) {
      attention_pooling_step(p, level, own.compress[l].pooling, acts_.compress[l].pooling, source_position(l),
                             cache()[cached_.pooled[l]], p.memory[acts_.source[l]], p.memory[acts_.compress[l].y]);
    } else if (nested) {
      const index_type dim = F::source_dim(l);
      const auto side_by_side = cache()[cached_.last_finer[l]].template reshape<3>({batch_, 1, width * dim});
      repeat(*backend_, p.memory[acts_.source[l]], 1, (source_position(l) + width - 1) % width * dim, side_by_side);
    }
    if (!active(l)) return;
    if (!level.pools) {
      const auto window = !level.compressed() ? p.memory[acts_.tokens]
                          : nested            ? cache()[cached_.last_finer[l]]
                                              : cache()[cached_.window];
      compress_forward(p, level, own.compress[l], acts_.compress[l], window, l, width - 1);
    }
    ngrams_forward(p, F::ngrams, l, own.ngrams, newest_lookups_, p.memory[acts_.compress[l].y].rows());
    norm_forward(p, own.embedding_norm[l], acts_.embedding_norm[l], p.memory[acts_.compress[l].y], 0,
                 p.memory[acts_.token_embedding[l]]);
  }

  /// Level `l`, if its boundaries follow the text and those of the level that it shortens do not: runs the texts at which a
  /// position begins, one by one.
  void step_rows(int l) {
    if constexpr (F::follows_text) {
      if (F::levels[l].from < 0) return enter_rows(l);
      if (F::levels[F::levels[l].from].ragged || !has_source(l)) return;  // the former runs inside that level
      const auto source = tensor_memory<scalar>{memory_.data()}[acts_.source[l]];
      if (F::levels[l].learned_boundaries) find_probabilities(step_pass(), l, 0, source.rows());
      for (index_type b = 0; b < batch_; ++b)
        if (begins_now(l, b)) step_row(l, b, source.slice(b, 1).rows());
    }
  }
  /// Side by side: the input of the first layer of texts at which a position of level `l` begins.
  void enter_rows(int l) {
    if constexpr (F::merges) {
      const pass<Backend> p = row_pass();
      const parameter_layout<D>& own = weights_.layout();
      const auto entered = tensor_memory<scalar>{memory_.data()}[acts_.token_embedding[l]].rows();
      for (index_type b = 0; b < batch_; ++b) {
        if (!begins_now(l, b)) continue;
        compress_forward(p, F::levels[l], own.compress[l], row_acts_.compress[l], cache()[cached_.window].slice(b, 1),
                         l, F::largest_compression - 1);
        norm_forward(p, own.embedding_norm[l], row_acts_.embedding_norm[l], p.memory[row_acts_.compress[l].y], 0,
                     p.memory[row_acts_.token_embedding[l]]);
        copy(*backend_, p.memory[row_acts_.token_embedding[l]].flat(), entered.slice(b, 1).flat());
      }
    }
  }
  /// Side by side: block `l` of layer `i` for texts at which a position of the level begins.
  void step_blocks_of_rows(int i, int l) {
    const pass<Backend> p = row_pass();
    const block_activations &all = acts_.layers[i].blocks[l], &one = row_acts_.layers[i].blocks[l];
    const tensor_memory<scalar> memory{memory_.data()};
    for (index_type b = 0; b < batch_; ++b) {
      const level_row& row = rows_of_levels_[l][static_cast<std::size_t>(b)];
      if (!row.begins) continue;
      copy(*backend_, memory[all.x].rows().slice(b, 1).flat(), p.memory[one.x].flat());
      block_step(p, row_acts_, i, l, row.count - 1, b, 1);
      copy(*backend_, p.memory[one.y].flat(), memory[all.y].rows().slice(b, 1).flat());
    }
  }
  /// A new position of text `b` at level `l`, with everything inside that level: source [1,d'].
  void step_row(int l, index_type b, input<scalar, 2> source) {
    const pass<Backend> p = row_pass();
    const parameter_layout<D>& own = weights_.layout();
    const index_type count = rows_of_levels_[l][static_cast<std::size_t>(b)].count - 1;
    if (F::levels[l].pads)
      pad(p, own.compress[l], source, p.memory[row_acts_.compress[l].y]);
    else
      linear(p, source, own.compress[l].projection, {}, p.memory[row_acts_.compress[l].y].rows(), update::replace);
    norm_forward(p, own.embedding_norm[l], row_acts_.embedding_norm[l], p.memory[row_acts_.compress[l].y], 0,
                 p.memory[row_acts_.token_embedding[l]]);
    for (int i = F::first_layer(l); i < F::upsample_layer(l); ++i) {
      for (int inner = 0; inner < F::level_count; ++inner) {
        if (F::levels[inner].from != l) continue;
        if (F::first_layer(inner) == i) {
          const auto source_of_inner = p.memory[row_acts_.source[inner]].rows();
          if (F::levels[inner].learned_boundaries) find_probabilities(p, inner, b, source_of_inner);
          if (begins_now(inner, b)) step_row(inner, b, source_of_inner);
        }
        if (F::upsample_layer(inner) == i) add_kept(p, row_acts_, inner, b, 1);
      }
      if (F::runs(i, l)) block_step(p, row_acts_, i, l, count, b, 1);
    }
    leave_level(p, row_acts_, l, own);
    view<const scalar, 3> newest = p.memory[row_acts_.embedding[l]];
    if (F::levels[l].learned_boundaries) {
      const view<scalar, 3> smoothed = cache()[cached_.smoothed[l]].slice(b, 1);
      const scalar p_now = rows_of_levels_[l][static_cast<std::size_t>(b)].p;
      mix(*backend_, 1 - std::clamp(p_now, scalar(least_share), scalar(1 - least_share)), newest.flat(),
          smoothed.flat());
      newest = smoothed;
    }
    upsample_keep_newest(p, F::levels[l], own.upsample[l], newest, cache()[cached_.upsample[l]].slice(b, 1));
  }
  /// Adds what the newest positions of level `l` left to the next finer stream of `count` texts.
  void add_kept(const pass<Backend>& p, const activation_layout<D>& acts, int l, index_type first, index_type count) {
    const auto x = p.memory[acts.upsample[l].x], y = p.memory[acts.upsample[l].y];
    if (F::levels[l].learned_boundaries)
      linear(p, x.rows(), weights_.layout().boundaries[l].residual, {}, y.rows(), update::replace);
    else
      copy(*backend_, x.flat(), y.flat());
    if (!merge_) return;
    for (index_type b = 0; b < count; ++b)
      upsample_add_newest(p, F::levels[l], weights_.layout().upsample[l],
                          rows_of_levels_[l][static_cast<std::size_t>(first + b)].since,
                          cache()[cached_.upsample[l]].slice(first + b, 1), y.rows().slice(b, 1));
  }
  /// A pass over one token of one text.
  pass<Backend> row_pass() {
    return {
        *backend_,         1,  1, weights_.memory(), {}, {row_memory_.data()}, {row_scratch_.data()}, {rows_.data()},
        weights_.format(), {}, {}};
  }

  /// A new position of `rows` texts from text `row` on, the same number at level `l` in each.
  void block_step(const pass<Backend>& p, const activation_layout<D>& of, int i, int l, index_type level_position,
                  index_type row, index_type rows) {
    const level_facts& level = F::levels[l];
    const block_parameters& own = weights_.layout().layers[i].blocks[l];
    const block_activations& acts = of.layers[i].blocks[l];
    const auto& cached = cached_.layers[i];
    const index_type sequence = level_position % level.dilation, count = level_position / level.dilation;
    const auto shifted = cache()[cached_.shifted[l]].slice(row, rows);
    const auto y = p.memory[acts.y];
    if (level.span > 0)
      attention_step(p, level, own.attention, acts.attention, cache()[cached_.distance[l]], count,
                     cache()[cached.keys[l]][sequence].slice(row, rows),
                     cache()[cached.values[l]][sequence].slice(row, rows),
                     cache()[cached.before_attention[l]][sequence].slice(row, rows), shifted, p.memory[acts.x],
                     p.memory[acts.middle]);
    const auto budget = level.routed() ? cache()[cached.budget[l]].slice(sequence, 1) : view<scalar, 2>{};
    feed_forward_step(p, level, own.feed_forward, acts.feed_forward, count, budget,
                      cache()[cached.before_feed_forward[l]][sequence].slice(row, rows), shifted, p.memory[acts.middle],
                      y);
    if (cached.current[l]) copy(*backend_, y.flat(), cache()[cached.current[l]].slice(row, rows).flat());
  }

  void merge_step(const pass<Backend>& p, int i) {
    const auto& cached = cached_.layers[i];
    auto stream = streams_after(p, acts_, i);
    for (int l = 0; l < F::level_count; ++l)
      if (F::levels[l].ragged) stream[l] = stream[l].template reshape<3>({batch_, 1, index_type{F::levels[l].dim}});
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
  activation_layout<D> acts_, row_acts_;
  std::array<std::vector<level_row>, F::level_count> rows_of_levels_;
  cache_layout<D> cached_;
  storage<scalar> memory_, scratch_, cache_, row_memory_, row_scratch_;
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
