// The models that the example programs know by name. A new one is one description and one entry of `models`.
#pragma once

#include <string>
#include <tuple>

#include <strata/strata.hpp>

namespace examples {

/// Trains in seconds. For first tries, and for the tests of the programs.
inline constexpr strata::description tiny{
    .max_length = 64,
    .depth = 2,
    .levels = {{.dim = 32, .heads = 2, .head_dim = 16, .window = 16},
               {.compression = 2, .dim = 48, .heads = 2, .head_dim = 16, .window = 16}}};

/// The model of `make demo`: a layer over bytes, one over groups of 4 bytes, two over bytes. As large as two minutes on
/// two cores can train.
inline constexpr strata::description demo{
    .max_length = 512,
    .depth = 4,
    .levels = {{.dim = 128, .heads = 4, .head_dim = 32, .window = 256, .before = 1, .after = 2},
               {.compression = 4, .stride = 4, .dim = 192, .heads = 6, .head_dim = 32, .window = 128}}};

/// The same around one position for every word, and around positions that the model finds.
inline constexpr strata::description words =
    strata::with(demo, [](auto& d) { d.levels[1].boundaries = strata::boundaries::word_starts; });
inline constexpr strata::description learned = strata::with(demo, [](auto& d) {
  d.levels[1].boundaries = strata::boundaries::learned;
  d.levels[1].compressor = strata::compressor_kind::padding;
});

template <const auto& D>
struct named_model {
  const char* name;
};

inline constexpr std::tuple models{named_model<tiny>{"tiny"},
                                   named_model<demo>{"demo"},
                                   named_model<strata::presets::half_minute>{"half_minute"},
                                   named_model<strata::presets::two_minutes>{"two_minutes"}
#ifndef STRATA_FEW_MODELS  // the tests do not use these
                                   ,
                                   named_model<words>{"words"},
                                   named_model<learned>{"learned"},
                                   named_model<strata::presets::ten_minutes>{"ten_minutes"},
                                   named_model<strata::presets::one_hour>{"one_hour"},
                                   named_model<strata::presets::ten_hours>{"ten_hours"},
                                   named_model<strata::presets::tokens_1024>{"tokens_1024"},
                                   named_model<strata::presets::tokens_4096>{"tokens_4096"}
#endif
};

/// What train_text trains if neither a model nor a time is given.
inline constexpr const char* model_without_seconds = "demo";

inline std::string model_names() {
  return std::apply([](auto... model) { return ((std::string(" ") + model.name) + ...); }, models);
}

/// Calls visit(model) for the first model for which `wanted(model)` holds; says whether there was one.
template <class Wanted, class Visit>
bool with_model(Wanted wanted, Visit visit) {
  return std::apply([&](auto... model) { return ((wanted(model) && (visit(model), true)) || ...); }, models);
}

/// For `with_model`: whether a model is the one that `file` describes.
inline auto described_in(const strata::safetensors_file& file) {
  return [&file]<const auto & D>(named_model<D>) { return strata::difference_to<D>(file).empty(); };
}

}  // namespace examples
