// Keeps learned boundaries as far apart as the level's compression says: small where one position begins for every N of
// the finer level.
// Shapes: probabilities of boundaries [B,n'] -> loss [1], summed over levels.
// Source: H-Net, arXiv 2507.07955, equation 10.
#pragma once

#include <string_view>

#include <strata/losses/context.hpp>

namespace strata::inline STRATA_ABI {

struct boundary_ratio_loss {
  double weight = 0.03;
  model_facts model = {};

  static constexpr std::string_view name = "boundary_ratio";
  struct parameters {};
  struct activations {};

  template <class Table>
  constexpr parameters declare(Table&) const {
    return {};
  }
  constexpr activations plan(activation_plan&, index_type, index_type) const { return {}; }
  constexpr double head_flops(index_type, index_type) const { return 0; }

  template <class Backend, class S = typename Backend::scalar>
  void evaluate(const loss_context<Backend>& context, const parameters&, const activations&, double scale,
                output<S, 1> loss) const {
    for (std::size_t l = 0; l < model.levels.size(); ++l) {
      if (!model.levels[l].learned_boundaries) continue;
      const auto p = context.boundary_probabilities[l].flat();
      // Tokens after the end of a row do not count; they begin no position.
      const bool of_tokens = p.size() == context.inputs.size();
      boundary_ratio(context.p.backend, p, of_tokens ? context.inputs.flat() : view<const token, 1>{},
                     static_cast<double>(model.levels[l].shortens), static_cast<S>(scale), loss,
                     context.dboundary_probabilities[l].flat());
    }
  }
};

}  // namespace strata
