// The list of all losses, their weights and their report. A new loss is one file and one line here.
// Shapes: one number a loss.
// Source: docs/model.md.
#pragma once

#include <algorithm>
#include <array>
#include <iterator>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include <strata/core/error.hpp>
#include <strata/losses/cross_entropy.hpp>
#include <strata/losses/level_autoregressive.hpp>
#include <strata/losses/next_latent.hpp>
#include <strata/losses/prophet_quantized.hpp>
#include <strata/losses/prophet_tokens.hpp>
#include <strata/losses/reconstruction.hpp>
#include <strata/losses/sigmoid_contrastive.hpp>

namespace strata::inline STRATA_ABI {

template <class Config>
using all_losses =
    std::tuple<cross_entropy_loss<Config>, reconstruction_loss<Config>, level_autoregressive_loss<Config>,
               prophet_tokens_loss<Config>, prophet_quantized_loss<Config>, sigmoid_contrastive_loss<Config>,
               next_latent_loss<Config>>;

namespace detail {

template <class Config>
constexpr bool chooses_loss(std::string_view name) {
  return name == cross_entropy_loss<Config>::name || facts<Config>::names_loss(name);
}
template <class Config, class All = all_losses<Config>>
struct chosen_losses;
template <class Config, class... Loss>
struct chosen_losses<Config, std::tuple<Loss...>> {
  static constexpr bool exist = std::all_of(std::begin(Config::losses), std::end(Config::losses),
                                            [](std::string_view name) { return ((name == Loss::name) || ...); });
  static_assert(exist, "strata: losses names one that does not exist; the list is in losses/losses.hpp");
  using type = decltype(std::tuple_cat(
      std::conditional_t<chooses_loss<Config>(Loss::name), std::tuple<Loss>, std::tuple<>>()...));
};

}  // namespace detail

/// The losses that the description `Config` chooses, cross-entropy first.
template <class Config>
using loss_list = typename detail::chosen_losses<Config>::type;

/// One number a loss, read and written by the loss's name. Starts as the default weights: the reference package's, where it
/// has the loss by default.
template <class Config>
class loss_values {
 public:
  static constexpr std::size_t count = std::tuple_size_v<loss_list<Config>>;
  static constexpr std::array<std::string_view, count> names = []<std::size_t... I>(std::index_sequence<I...>) {
    return std::array<std::string_view, count>{std::tuple_element_t<I, loss_list<Config>>::name...};
  }
  (std::make_index_sequence<count>());

  static constexpr loss_values default_weights() {
    loss_values result;
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      ((result.values_[I] = std::tuple_element_t<I, loss_list<Config>>::default_weight), ...);
    }
    (std::make_index_sequence<count>());
    return result;
  }

  double& operator[](std::string_view name) { return values_[position(name)]; }
  double operator[](std::string_view name) const { return values_[position(name)]; }
  constexpr double& operator[](std::size_t i) { return values_[i]; }
  constexpr double operator[](std::size_t i) const { return values_[i]; }
  bool operator==(const loss_values&) const = default;

 private:
  static std::size_t position(std::string_view name) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) {
      std::string known;
      for (const std::string_view each : names) known.append(" ").append(each);
      fail("this model has no loss called '", name, "'; it has:", known);
    }
    return static_cast<std::size_t>(found - names.begin());
  }
  std::array<double, count> values_{};
};

/// What one evaluation gives: the weighted total and each unweighted loss; a loss of weight 0 is not
/// computed.
template <class Config>
struct loss_report {
  double total = 0;
  loss_values<Config> values;

  /// From what `evaluate_losses` leaves, each 16 elements apart, times `share`.
  template <class S>
  loss_report(view<const S, 1> losses, const loss_values<Config>& weights, double share) {
    for (std::size_t j = 0; j < loss_values<Config>::count; ++j) {
      values[j] = share * static_cast<double>(losses(index_type{16} * static_cast<index_type>(j)));
      total += weights[j] * values[j];
    }
  }
  loss_report() = default;
};

}  // namespace strata
