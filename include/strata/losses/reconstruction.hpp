// Every compressed level predicts the c tokens that each position was made from.
// Shapes: token_blocks.hpp.
// Source: docs/model.md.
#pragma once

#include <string_view>

#include <strata/losses/token_blocks.hpp>

namespace strata::inline STRATA_ABI {

struct tokens_of_position {
  static constexpr std::string_view name = "reconstruction";
  static constexpr double default_weight = 0.1;
  static constexpr const char* head = ".to_recon.weight";
  static constexpr int first(const level_facts& level) { return 1 - level.compression; }
};
using reconstruction = token_blocks<tokens_of_position>;

}  // namespace strata
