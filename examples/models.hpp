// The model descriptions that the example programs know by name. A new one is one struct and one entry of `models`.
#pragma once

#include <string>
#include <string_view>
#include <tuple>

#include <strata/strata.hpp>

namespace examples {

/// Trains in seconds; for trying things out and for the tests of the programs.
struct tiny : strata::model_defaults {
  static constexpr const char* name = "tiny";
  static constexpr int max_length = 64, depth = 2;
  static constexpr strata::level levels[] = {{.compression = 1, .dim = 32, .heads = 2, .head_dim = 16, .window = 16},
                                             {.compression = 2, .dim = 48, .heads = 2, .head_dim = 16, .window = 16}};
};

/// The model of `make demo`: as much as two minutes on two cores can train.
struct demo : strata::model_defaults {
  static constexpr const char* name = "demo";
  static constexpr int max_length = 256, depth = 3;
  static constexpr strata::level levels[] = {{.compression = 1, .dim = 128, .heads = 4, .head_dim = 32, .window = 32},
                                             {.compression = 4, .dim = 128, .heads = 4, .head_dim = 32, .window = 32}};
};

struct small : strata::presets::small {
  static constexpr const char* name = "small";
};
struct base : strata::presets::base {
  static constexpr const char* name = "base";
};

using models = std::tuple<tiny, demo, small, base>;

inline std::string model_names() {
  return std::apply([](auto... model) { return ((std::string(" ") + model.name) + ...); }, models());
}

/// Calls visit(model) for the first model for which `wanted(model)` holds; says whether there was one.
template <class Wanted, class Visit>
bool with_model(Wanted wanted, Visit visit) {
  return std::apply([&](auto... model) { return ((wanted(model) && (visit(model), true)) || ...); }, models());
}

}  // namespace examples
