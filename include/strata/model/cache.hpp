// What incremental generation remembers. Per level, layer and interleaved sequence: the keys and values of the last
// `span` positions, the rows that the next token shift reads and the routing budget. Per strided level: its current
// value. Also the state of the merge.
// Shapes: offsets in one memory whose size does not depend on the length of the text.
// Source: docs/model.md, "Generation".
#pragma once

#include <array>

#include <strata/config/facts.hpp>
#include <strata/core/tensor_table.hpp>
#include <strata/layers/upsample.hpp>
#include <strata/merges/merges.hpp>

namespace strata::inline STRATA_ABI {

template <const auto& D>
struct cache_layout {
  using F = facts<D>;
  template <class T>
  using each_level = std::array<T, F::level_count>;
  struct layer {
    each_level<tensor<4>> keys, values;                           // [dilation,B,span,H E]
    each_level<tensor<3>> before_attention, before_feed_forward;  // [dilation,B,d]
    each_level<tensor<2>> budget;                                 // [dilation,B], levels with routing
    each_level<tensor<3>> current;                                // [B,1,d], strided levels: the block's last output
    typename merge_cache<merge_of<D>>::type merge;
  };
  tensor<3> window;                  // [B,largest c,D]: last embeddings of tokens
  each_level<tensor<3>> last_finer;  // [B,shortens,d], compressed levels of an hourglass: last positions of the source
  each_level<tensor<3>> upsample;    // the same levels: what `upsample_step` keeps
  // Levels whose boundaries are learned. Rows 0 and 1 are of the source's positions before and now: [B,2,d'].
  each_level<tensor<3>> boundary_queries, boundary_keys;
  each_level<tensor<3>> boundary_p;  // [B,2,1], the probability at the position now is the second
  each_level<tensor<3>> smoothed;    // [B,1,d]
  each_level<tensor<3>> pooled;  // [B,shortens,2 H E], levels that pool: keys and values of the source's last positions
  each_level<tensor<3>> shifted;   // [B,1,d], scratch memory
  each_level<tensor<3>> distance;  // [2,span,E/2], the rotary table by distance
  std::array<layer, F::depth> layers;
  index_type constants = 0;  // elements at the front that do not depend on the text
  index_type size = 0;       // elements
};

template <const auto& D>
constexpr cache_layout<D> plan_cache(index_type batch) {
  using F = facts<D>;
  cache_layout<D> own;
  memory_plan plan;
  for (int l = 0; l < F::level_count; ++l)
    if (F::levels[l].span > 0) own.distance[l] = plan.add<3>({2, F::levels[l].span, F::levels[l].head_dim / 2});
  own.constants = plan.size();
  if (!F::hourglass) own.window = plan.add<3>({batch, F::largest_compression, F::embedding_dim});
  for (int l = 0; l < F::level_count; ++l) {
    const level_facts& level = F::levels[l];
    if (level.pools) own.pooled[l] = plan.add<3>({batch, level.shortens, 2 * level.attention_dim()});
    if (level.from >= 0) {
      if (!level.pools && !level.ragged) own.last_finer[l] = plan.add<3>({batch, level.shortens, F::source_dim(l)});
      own.upsample[l] = plan.add<3>(upsample_kept_shape(level, batch, F::source_dim(l)));
      if (level.learned_boundaries) {
        own.boundary_queries[l] = plan.add<3>({batch, 2, F::source_dim(l)});
        own.boundary_keys[l] = plan.add<3>({batch, 2, F::source_dim(l)});
        own.boundary_p[l] = plan.add<3>({batch, 2, 1});
        own.smoothed[l] = plan.add<3>({batch, 1, level.dim});
      }
    }
    own.shifted[l] = plan.add<3>({batch, 1, level.dim});
    for (int i = 0; i < F::depth; ++i) {
      if (!F::runs(i, l)) continue;
      auto& layer = own.layers[i];
      if (level.span > 0) {
        layer.keys[l] = plan.add<4>({level.dilation, batch, level.span, level.attention_dim()});
        layer.values[l] = plan.add<4>({level.dilation, batch, level.span, level.attention_dim()});
        layer.before_attention[l] = plan.add<3>({level.dilation, batch, level.dim});
      }
      layer.before_feed_forward[l] = plan.add<3>({level.dilation, batch, level.dim});
      if (level.routed()) layer.budget[l] = plan.add<2>({level.dilation, batch});
      if (F::merges && level.stride > 1) layer.current[l] = plan.add<3>({batch, 1, level.dim});
    }
  }
  if (F::merges)
    for (auto& layer : own.layers) layer.merge = plan_merge_cache(chosen_merge<D>, plan, batch);
  own.size = plan.size();
  return own;
}

}  // namespace strata
