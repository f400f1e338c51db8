// Every compressed level predicts the c tokens that follow the tokens of each position.
// Shapes: token_blocks.hpp.
// Source: docs/model.md; ProphetNet, arXiv 2001.04063.
#pragma once

#include <string_view>

#include <strata/losses/token_blocks.hpp>

namespace strata::inline STRATA_ABI {

struct tokens_after_position {
  static constexpr std::string_view name = "prophet_tokens";
  static constexpr double default_weight = 0.5;
  static constexpr const char* head = ".to_prophet.weight";
  static constexpr int first(const level_facts&) { return 1; }
};
using prophet_tokens = token_blocks<tokens_after_position>;

}  // namespace strata
