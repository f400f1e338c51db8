// Weights to and from safetensors files under the reference package's state-dict names.
// Shapes: each tensor as the reference package holds it.
// Source: simple-hierarchical-transformer 0.2.0; its rotary tables are constants, written for it and ignored on reading.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <strata/io/description.hpp>
#include <strata/io/safetensors.hpp>
#include <strata/layers/rotary.hpp>
#include <strata/model/parameters.hpp>

namespace strata::inline STRATA_ABI {

/// Prefix of what a file holds beside weights: the moments of the optimizer.
inline constexpr std::string_view optimizer_prefix = "optimizer.";
/// Prefix of the constants of `prophet_quantized`; the reference package has them at levels, and of kinds, that no loss reads.
inline constexpr std::string_view quantizer_prefix = "rand_proj_quantizers.";
inline constexpr const char* description_key = "strata.model";

namespace detail {

/// A constant of the reference package's state dict.
struct derived_tensor {
  std::string name;
  std::vector<float> values;
};

/// The rotary frequencies, and the bases of xPos where a level has full attention.
template <class Config>
std::vector<derived_tensor> derived_tensors() {
  using F = facts<Config>;
  std::vector<derived_tensor> all;
  for (int i = 0; i < F::depth; ++i)
    for (int l = 0; l < F::level_count; ++l) {
      const level_facts& level = F::levels[l];
      if (level.span == 0 || !F::runs(i, l)) continue;
      const std::string prefix =
          to_text("layers.", i, ".", l, level.full ? ".attn.rotary_emb." : ".attn.attn_fn.rel_pos.");
      derived_tensor frequencies{prefix + "inv_freq", {}}, bases{prefix + "scale", {}};
      for (index_type e = 0; e < level.head_dim / 2; ++e) {
        const rotary_pair pair(level, e);
        frequencies.values.push_back(static_cast<float>(pair.frequency));
        bases.values.push_back(static_cast<float>(pair.decay));
      }
      all.push_back(std::move(frequencies));
      if (level.full) all.push_back(std::move(bases));
    }
  return all;
}

}  // namespace detail

/// A flat buffer in the layout of the parameters, on the host.
template <class Scalar>
using parameter_values = std::vector<Scalar>;

/// Adds every parameter of `values` to a file under `prefix` + its name. `values` must live until the file is written.
template <class Config, class Scalar>
void add_parameters(safetensors_writer& writer, const std::string& prefix, const parameter_values<Scalar>& values) {
  for (const parameter_entry& entry : parameters<Config>::entries())
    writer.add(prefix + entry.name, entry.shape, values.data() + entry.offset);
}

/// Reads every parameter from `prefix` + its name; throws with the name and both shapes where one does not fit.
template <class Config, class Scalar>
parameter_values<Scalar> read_parameters(const safetensors_file& file, const std::string& prefix) {
  parameter_values<Scalar> values(static_cast<std::size_t>(parameters<Config>::buffer_size));
  for (const parameter_entry& entry : parameters<Config>::entries())
    file.copy_to(prefix + entry.name,
                 std::span<Scalar>(values.data() + entry.offset, static_cast<std::size_t>(entry.size)),
                 std::span<const index_type>(entry.shape));
  return values;
}

/// Throws unless the file holds the weights of this model and nothing that it does not know.
template <class Config>
void check_model_of(const safetensors_file& file) {
  std::set<std::string, std::less<>> known;
  for (const parameter_entry& entry : parameters<Config>::entries()) {
    known.insert(entry.name);
    const safetensors_entry& found = file.entry(entry.name);
    require(found.shape == entry.shape, file.source(), ": tensor '", entry.name, "' has shape ",
            detail::bracketed(std::span<const index_type>(found.shape)), " in the file, but the model has ",
            detail::bracketed(std::span<const index_type>(entry.shape)));
  }
  for (const detail::derived_tensor& derived : detail::derived_tensors<Config>()) known.insert(derived.name);
  for (const safetensors_entry& entry : file.entries())
    require(known.contains(entry.name) || entry.name.starts_with(optimizer_prefix) ||
                entry.name.starts_with(quantizer_prefix),
            file.source(), ": tensor '", entry.name, "' with shape ",
            detail::bracketed(std::span<const index_type>(entry.shape)), " is not one of the model");
  if (const auto found = file.metadata().find(description_key); found != file.metadata().end())
    require(found->second == describe<Config>(), file.source(), ": the file is of the model '", found->second,
            "', not of '", describe<Config>(), "'");
}

/// A host copy of the model's weights.
template <class Model>
parameter_values<typename Model::scalar> weights_of(const Model& model) {
  parameter_values<typename Model::scalar> values(static_cast<std::size_t>(model.weights().size()));
  download(model.backend(), model.weights(), view<typename Model::scalar, 1>{values.data(), model.weights().shape});
  return values;
}

template <class Model>
void set_weights(Model& model, const parameter_values<typename Model::scalar>& values) {
  upload(model.backend(), view<const typename Model::scalar, 1>{values.data(), model.weights().shape}, model.weights());
}

/// Writes the weights so that the reference package loads them (strictly), replacing `path` as a whole.
template <class Model>
void save_weights(const Model& model, const std::filesystem::path& path) {
  using config = typename Model::config;
  const auto values = weights_of(model);
  const auto derived = detail::derived_tensors<config>();
  safetensors_writer writer;
  writer.set_metadata(description_key, describe<config>());
  add_parameters<config>(writer, "", values);
  for (const detail::derived_tensor& each : derived)
    writer.add(each.name, {static_cast<index_type>(each.values.size())}, each.values.data());
  writer.write(path);
}

/// Reads weights that the reference package, `save_weights` or a checkpoint holds. The model changes only if all fit.
template <class Model>
void load_weights(Model& model, const std::filesystem::path& path) {
  using config = typename Model::config;
  const safetensors_file file = safetensors_file::read(path);
  check_model_of<config>(file);
  set_weights(model, read_parameters<config, typename Model::scalar>(file, ""));
}

}  // namespace strata
