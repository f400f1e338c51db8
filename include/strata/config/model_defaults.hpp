// What a model description may leave out.
// Shapes: none.
// Source: docs/model.md; the defaults are those of the reference package, but for `ignore_index`.
#pragma once

#include <string_view>

#include <strata/config/level.hpp>
#include <strata/config/loss_options.hpp>
#include <strata/config/merge_options.hpp>

namespace strata::inline STRATA_ABI {

/// Which levels the logits are computed from.
enum class logits_source { predicting_level, all_levels };

/// How the coarse level of an hourglass is added to the fine one: a linear map gives each token its piece of the coarse position
/// it belongs to, or each token attends to the coarse positions that the newest of them sees.
enum class upsampling_kind { linear, attention };

/// Layers of an hourglass that run on its fine level before it is shortened, and after the coarse one is added to it; those
/// between run on the coarse level.
struct hourglass_layers {
  int before = 0, after = 0;
  upsampling_kind upsampling = upsampling_kind::linear;
  constexpr bool any() const { return before != 0 || after != 0 || upsampling != upsampling_kind::linear; }
};
inline constexpr hourglass_layers no_hourglass{};  ///< all levels run side by side in every layer

inline constexpr int least_compressed = -1;      ///< `predicting_level`: the level with the smallest compression
inline constexpr int the_predicting_level = -1;  ///< in `receiving_levels`, whichever it is
inline constexpr int every_level = -2;           ///< `receiving_levels`: this alone
inline constexpr int ignore_nothing = -1;        ///< `ignore_index`: every token counts in the losses

/// Base of every model description: derive from it and name what differs.
///
///     struct shakespeare : strata::model_defaults {
///       static constexpr int depth = 4, max_length = 512;
///       static constexpr strata::level levels[] = {{.dim = 128, .heads = 4, .head_dim = 32, .window = 32},
///                                                  {.compression = 2, .dim = 192, .window = 64}};
///     };
struct model_defaults {
  static constexpr int vocabulary = 256;                     ///< V: tokens are 0 .. V-1; bytes by default
  static constexpr int max_length = 1024;                    ///< tokens that full attention reaches back
  static constexpr int depth = 6;                            ///< layers
  static constexpr int predicting_level = least_compressed;  ///< index into `levels`
  static constexpr std::string_view merge = "concatenate";   ///< what merges levels, by the names in docs/model.md
  /// The levels that the merge after every layer adds to: indices into `levels`, or a name above.
  static constexpr int receiving_levels[] = {the_predicting_level};
  static constexpr level_attention_options level_attention{};  ///< choices of the merge of that name
  static constexpr level_shift_options level_shift{};          ///< the same
  static constexpr logits_source logits = logits_source::predicting_level;
  /// Instead of merges: the levels, one without compression and one whose stride is its compression, run one after the other.
  static constexpr hourglass_layers fine_layers = no_hourglass;
  /// What the model learns beside the next token, by the names in docs/model.md. Each has weights of its own here; how much it
  /// counts is chosen where the model is trained.
  static constexpr std::string_view losses[] = {"reconstruction", "level_autoregressive"};
  static constexpr prophet_quantized_options prophet_quantized{};
  static constexpr next_latent_options next_latent = {};
  static constexpr sigmoid_contrastive_options sigmoid_contrastive = {};
  /// A token that no loss counts. The reference package ignores token 0; here every byte counts unless asked.
  static constexpr int ignore_index = ignore_nothing;
  /// Levels with attention and equal dim, heads and head_dim use one set of its weights; norms stay each level's own.
  static constexpr bool share_attention = false;
  /// How likely training drops an element of the tokens' embeddings, of what attention gives, of what feed-forward gives.
  static constexpr double embedding_dropout = 0, attention_dropout = 0, feed_forward_dropout = 0;
};

}  // namespace strata
