// The losses that a model learns from: a list of types, their options and weights, and their report. Each loss of the
// library is one file beside this one; docs/extending.md says how to write your own.
// Shapes: one number per loss.
// Source: docs/model.md.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include <strata/config/parts.hpp>
#include <strata/core/error.hpp>
#include <strata/core/rule.hpp>
#include <strata/core/small_floats.hpp>
#include <strata/losses/boundary_ratio.hpp>
#include <strata/losses/level_autoregressive.hpp>
#include <strata/losses/next_latent.hpp>
#include <strata/losses/next_token.hpp>
#include <strata/losses/prophet_quantized.hpp>
#include <strata/losses/prophet_tokens.hpp>
#include <strata/losses/reconstruction.hpp>
#include <strata/losses/sigmoid_contrastive.hpp>

namespace strata::inline STRATA_ABI {

/// Replaces `losses` in a model that only runs. The model has no gradients and no heads of losses.
struct inference {};

/// The name of a loss. If it is missing, a later static_assert says so.
template <class Loss>
constexpr std::string_view name_of_loss() {
  if constexpr (requires { std::string_view(Loss::name); }) return Loss::name;
  return "";
}

/// What a model learns from: the next token, and `Loss...`.
///
///     strata::losses<strata::reconstruction, strata::next_latent> chosen;
///     chosen.get<strata::next_latent>() = {.weight = 0.5, .rollouts = 2};
template <class... Loss>
class losses {
 public:
  using all = std::tuple<next_token, Loss...>;
  static constexpr std::size_t count = 1 + sizeof...(Loss);
  static constexpr std::array<std::string_view, count> names{next_token::name, name_of_loss<Loss>()...};

  token ignore_index = ignore_nothing;  ///< a token that no loss counts

  constexpr losses() = default;
  constexpr explicit losses(const Loss&... chosen) requires(sizeof...(Loss) > 0) : losses_(next_token(), chosen...) {}

  template <class Wanted>
  constexpr Wanted& get() {
    return std::get<Wanted>(losses_);
  }
  template <class Wanted>
  constexpr const Wanted& get() const {
    return std::get<Wanted>(losses_);
  }
  template <std::size_t I>
  constexpr const auto& at() const {
    return std::get<I>(losses_);
  }
  /// The weight of the loss called `name`.
  double& weight(std::string_view name) {
    double* found = nullptr;
    for_each([&](auto& loss) {
      if (loss.name == name) found = &loss.weight;
    });
    if (found == nullptr) fail_unknown(name);
    return *found;
  }
  double weight(std::string_view name) const { return const_cast<losses*>(this)->weight(name); }

  /// Calls visit(loss) for every loss, the next token first.
  template <class Visit>
  constexpr void for_each(Visit visit) {
    std::apply([&](auto&... loss) { (visit(loss), ...); }, losses_);
  }
  template <class Visit>
  constexpr void for_each(Visit visit) const {
    std::apply([&](const auto&... loss) { (visit(loss), ...); }, losses_);
  }
  /// Throws unless all options and weights are valid.
  void check(int vocabulary) const {
    require(ignore_index >= ignore_nothing && ignore_index < vocabulary, "ignore_index ", ignore_index,
            " is not a token of the vocabulary of ", vocabulary, " and not ignore_nothing (", ignore_nothing, ")");
    for_each([](const auto& loss) {
      require(std::isfinite(loss.weight) && loss.weight >= 0, "the weight of loss '", loss.name,
              "' must not be negative, but is ", loss.weight);
      require(fits_float(loss.weight), "the weight of loss '", loss.name, "' must fit a float, but is ", loss.weight);
      if constexpr (requires { loss.check(); }) loss.check();
    });
  }
  /// A copy whose losses know the model.
  constexpr losses of_model(model_facts model) const {
    losses own = *this;
    model.losses = names;
    own.for_each([&](auto& loss) { loss.model = model; });
    return own;
  }

  [[noreturn]] static void fail_unknown(std::string_view name) {
    std::string known;
    for (const std::string_view each : names) known.append(" ").append(each);
    fail("this model has no loss called '", name, "'; it has:", known);
  }

 private:
  all losses_{};
};

using default_losses = losses<reconstruction, level_autoregressive>;

namespace detail {

template <class Learns>
struct losses_of {
  static_assert(!std::is_same_v<Learns, Learns>,
                "strata: a model is for strata::inference or learns from strata::losses<..>");
  using type = losses<>;
};
template <class... Loss>
struct losses_of<losses<Loss...>> {
  using type = losses<Loss...>;
};
template <>
struct losses_of<inference> {
  using type = losses<>;
};

template <class Loss>
concept loss_has_weight = requires(Loss own) {
  own.weight = 0.5;
};
template <class Loss>
concept loss_has_declare = requires(const Loss own, parameter_plan table) {
  { own.declare(table) } -> std::same_as<typename Loss::parameters>;
};
template <class Loss>
concept loss_has_plan = requires(const Loss own, activation_plan plan, index_type size) {
  { own.plan(plan, size, size) } -> std::same_as<typename Loss::activations>;
};
template <class Loss>
concept loss_has_flops = requires(const Loss own, index_type size) {
  { own.head_flops(size, size) } -> std::convertible_to<double>;
};
template <class Loss, class Backend>
concept loss_has_evaluate = requires(const Loss own, const loss_context<Backend> context,
                                     const typename Loss::parameters parameters, const typename Loss::activations acts,
                                     view<typename Backend::scalar, 1> loss) {
  own.evaluate(context, parameters, acts, 1.0, loss);
};

template <class Loss>
concept loss_has_check = requires(Loss own) {
  own.check();
};
template <class Loss>
concept loss_has_const_check = requires(const Loss own) {
  own.check();
};

/// What all other rules of a loss rely on.
template <class Loss>
struct check_loss_fields {
  STRATA_RULE(name, has_name<Loss>, "the loss lacks 'static constexpr std::string_view name'");
  STRATA_RULE(weight, loss_has_weight<Loss>, "the loss lacks the field 'double weight'");
  STRATA_RULE(model, has_model<Loss>, "the loss lacks the field 'strata::model_facts model = {}'");
  STRATA_RULE(parameters, has_parameters<Loss>, "the loss lacks the type 'parameters'");
  STRATA_RULE(activations, has_activations<Loss>, "the loss lacks the type 'activations'");
  static constexpr bool passed = name && weight && model && parameters && activations;
};
template <class Loss>
struct check_loss_members {
  STRATA_RULE(some_name, name_of_loss<Loss>() != "", "the name of a loss must not be empty");
  STRATA_RULE(own_name, name_of_loss<Loss>() != "ignore_index",
              "no loss can have the name 'ignore_index': files have it beside the losses");
  STRATA_RULE(declares, loss_has_declare<Loss>, "the loss lacks 'parameters declare(Table& table) const'");
  STRATA_RULE(plans, loss_has_plan<Loss>,
              "the loss lacks 'activations plan(activation_plan& plan, index_type batch, index_type tokens) const'");
  STRATA_RULE(flops, loss_has_flops<Loss>,
              "the loss lacks 'double head_flops(index_type batch, index_type tokens) const'");
  STRATA_RULE(checks, !loss_has_check<Loss> || loss_has_const_check<Loss>, "'check()' of the loss must be const");
  STRATA_RULE(options, has_constant_options<Loss>,
              "the loss must have 'static constexpr void for_each_option(Own& own, Visit visit)', for a const Own too");
  static constexpr bool passed = some_name && own_name && declares && plans && flops && checks && options;
};
template <class Loss>
struct check_loss_options {
  STRATA_RULE(passed, !has_option<Loss>("weight"), "no option of a loss can be called 'weight': every loss has one");
};
template <class Loss, class Backend>
struct check_loss_operations {
  STRATA_RULE(passed, (loss_has_evaluate<Loss, Backend>),
              "the loss lacks 'void evaluate(context, own, acts, scale, loss) const'");
};
constexpr bool all_differ(std::span<const std::string_view> names) {
  for (std::size_t i = 0; i < names.size(); ++i)
    if (std::find(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(i), names[i]) !=
        names.begin() + static_cast<std::ptrdiff_t>(i))
      return false;
  return true;
}

}  // namespace detail

/// The losses of a model that learns from `Learns`. For `inference`: the next token alone.
template <class Learns>
using losses_of = typename detail::losses_of<Learns>::type;

/// Whether `Loss` has every member; else the compiler names it.
template <class Loss>
concept check_loss = passes<detail::check_loss_fields<Loss>> && passes<detail::check_loss_members<Loss>> &&
    passes<detail::check_loss_options<Loss>>;
template <class Losses>
struct check_losses;
template <class... Loss>
struct check_losses<losses<Loss...>> {
  static constexpr bool each = (check_loss<Loss> && ...);
  STRATA_RULE(differ, !each || detail::all_differ(losses<Loss...>::names), "two losses have the same name");
  static constexpr bool passed = each && differ;
};
template <class Losses, class Backend>
struct check_losses_operations;
template <class... Loss, class Backend>
struct check_losses_operations<losses<Loss...>, Backend> {
  static constexpr bool passed = (passes<detail::check_loss_operations<Loss, Backend>> && ...);
};

/// One number per loss, read and written by the loss's name.
template <class Losses>
class loss_values {
 public:
  static constexpr std::size_t count = Losses::count;
  static constexpr std::array<std::string_view, count> names = Losses::names;

  constexpr loss_values() = default;
  /// The weights of `chosen`.
  constexpr explicit loss_values(const Losses& chosen) {
    std::size_t j = 0;
    chosen.for_each([&](const auto& loss) { values_[j++] = loss.weight; });
  }
  static constexpr loss_values default_weights() { return loss_values(Losses()); }

  double& operator[](std::string_view name) { return values_[position(name)]; }
  double operator[](std::string_view name) const { return values_[position(name)]; }
  constexpr double& operator[](std::size_t i) { return values_[i]; }
  constexpr double operator[](std::size_t i) const { return values_[i]; }
  bool operator==(const loss_values&) const = default;

 private:
  static std::size_t position(std::string_view name) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) Losses::fail_unknown(name);
    return static_cast<std::size_t>(found - names.begin());
  }
  std::array<double, count> values_{};
};

/// The result of one evaluation: the weighted total and each unweighted loss. A loss of weight 0 is not computed.
template <class Losses>
struct loss_report {
  double total = 0;
  loss_values<Losses> values;

  /// The results of `evaluate_losses`, 16 elements apart, times `share`.
  template <class S>
  loss_report(view<const S, 1> losses, const loss_values<Losses>& weights, double share) {
    for (std::size_t j = 0; j < loss_values<Losses>::count; ++j) {
      values[j] = share * static_cast<double>(losses(index_type{16} * static_cast<index_type>(j)));
      total += weights[j] * values[j];
    }
  }
  loss_report() = default;
};

}  // namespace strata
