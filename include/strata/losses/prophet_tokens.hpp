// Every compressed level predicts the c tokens that follow those it was made from.
// Shapes: token_blocks.hpp.
// Source: docs/model.md; ProphetNet, arXiv 2001.04063.
#pragma once

#include <string_view>

#include <strata/losses/token_blocks.hpp>

namespace strata::inline STRATA_ABI {

template <class Config>
struct prophet_tokens_loss : token_block_loss<Config, prophet_tokens_loss<Config>> {
  static constexpr std::string_view name = "prophet_tokens";
  static constexpr double default_weight = 0.5;
  static constexpr const char* head = ".to_prophet.weight";
  static constexpr int first(const level_facts&) { return 1; }
};

}  // namespace strata
