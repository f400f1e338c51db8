// Every compressed level predicts the c tokens it was made from.
// Shapes: token_blocks.hpp.
// Source: docs/model.md.
#pragma once

#include <string_view>

#include <strata/losses/token_blocks.hpp>

namespace strata::inline STRATA_ABI {

template <class Config>
struct reconstruction_loss : token_block_loss<Config, reconstruction_loss<Config>> {
  static constexpr std::string_view name = "reconstruction";
  static constexpr double default_weight = 0.1;
  static constexpr const char* head = ".to_recon.weight";
  static constexpr int first(const level_facts& level) { return 1 - level.compression; }
};

}  // namespace strata
