// Weights to and from safetensors files under the reference package's state-dict names, with the model's description.
// Shapes: each tensor as the reference package holds it.
// Source: simple-hierarchical-transformer 0.2.0; its rotary tables are constants: written for it, ignored on reading.
#pragma once

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <strata/backend/exclusive_use.hpp>
#include <strata/io/description.hpp>
#include <strata/io/description_0_1.hpp>
#include <strata/io/safetensors.hpp>
#include <strata/layers/rotary.hpp>
#include <strata/model/parameters.hpp>

namespace strata::inline STRATA_ABI {

/// The key of strata's own metadata: a JSON object with the keys `format` and `description`, and in checkpoints more.
inline constexpr const char* metadata_key = "strata";
/// The number under `format`. A release reads all formats up to its own.
inline constexpr int file_format = 1;
/// What the keys in files of version 0.1 start with, and that of the description.
inline constexpr std::string_view metadata_prefix_0_1 = "strata.";
inline constexpr const char* description_key_0_1 = "strata.model";
/// Prefix of tensors that are no weights: the moments of the optimizer.
inline constexpr std::string_view optimizer_prefix = "optimizer.";

/// `strict` accepts only a file of this model. `matching` takes every tensor that fits.
enum class load_mode { strict, matching };

/// What did not fit. With `load_mode::strict` only heads of losses can be in it.
struct load_report {
  std::vector<std::string> missing;  ///< tensors that the file lacks: they keep their values
  std::vector<std::string>
      mismatched;                   ///< tensors of another shape in the file, with both shapes: they keep their values
  std::vector<std::string> unused;  ///< tensors of the file that the model lacks
  std::string difference;           ///< between the descriptions, as a sentence
};

namespace detail {

/// A constant of the reference package's state dict.
struct derived_tensor {
  std::string name;
  std::vector<float> values;
};

/// The rotary frequencies, and the bases of xPos where a level has full attention.
template <const auto& D>
std::vector<derived_tensor> derived_tensors() {
  using F = facts<D>;
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

/// Whether only a loss has a tensor of this name, in the reference package or here.
inline bool is_head_of_loss(std::string_view name) {
  constexpr std::string_view prefixes[] = {"to_hierarchical_preds.", "rand_proj_quantizers.", "to_contrastive_preds.",
                                           "chunk_summarizers.", "latent_dynamics."};
  return std::any_of(std::begin(prefixes), std::end(prefixes), [&](auto each) { return name.starts_with(each); }) ||
         (name.starts_with("compressors.") &&
          (name.find(".to_recon.") != name.npos || name.find(".to_prophet") != name.npos));
}

inline std::string shapes_differ(const parameter_entry& entry, const safetensors_entry& found) {
  return to_text("tensor '", entry.name, "' has shape ", bracketed(std::span<const index_type>(found.shape)),
                 " in the file, but the model has ", bracketed(std::span<const index_type>(entry.shape)));
}

}  // namespace detail

/// The metadata that strata wrote into a file, in today's form. Empty if another program wrote the file.
inline nlohmann::json read_metadata(const safetensors_file& file) {
  const auto& all = file.metadata();
  if (const auto found = all.find(metadata_key); found != all.end()) {
    const std::string source = to_text(file.source(), ": metadata '", metadata_key, "'");
    nlohmann::json object = parse_json(found->second, source);
    require(object.is_object(), source, " must be a JSON object, but is ", detail::value_text(object));
    if (!object.contains("format")) object["format"] = 1;
    const int format = read_number<int>(object, "format", source, 1);
    require(format <= file_format, file.source(), ": the file has format ", format,
            " and needs a newer version of strata; this version reads formats up to ", file_format);
    return object;
  }
  nlohmann::json object = nlohmann::json::object();
  const auto found = all.find(description_key_0_1);
  if (found == all.end()) return object;
  description_of_0_1 old = read_description_of_0_1(found->second, file.source());
  object["format"] = file_format;
  object["description"] = std::move(old.description);
  const auto parse = [&](const char* key) {
    return parse_json(file.metadata(key), to_text(file.source(), ": metadata '", key, "'"));
  };
  const auto parse_object = [&](const char* key) {
    nlohmann::json parsed = parse(key);
    require(parsed.is_object(), file.source(), ": metadata '", key, "' must be a JSON object, but is ",
            detail::value_text(parsed));
    return parsed;
  };
  if (!all.contains("strata.step")) return object;
  object["step"] = parse("strata.step");
  object["options"] = parse_object("strata.training_options");
  object["options"].update(old.options);
  object["losses"] = std::move(old.losses);
  const nlohmann::json weights = parse_object("strata.loss_weights");
  for (const auto& [name, weight] : weights.items()) object["losses"][name]["weight"] = weight;
  object["note"] = parse("strata.note");
  return object;
}

/// The description in metadata, as JSON; null where there is none.
inline nlohmann::json description_in(const nlohmann::json& metadata, const std::string& source) {
  nlohmann::json found = metadata.value("description", nlohmann::json());
  require(found.is_object() || found.is_null(), source, ": description: must be a JSON object, but is ",
          detail::value_text(found));
  return found;
}
inline nlohmann::json description_in(const safetensors_file& file) {
  return description_in(read_metadata(file), file.source());
}

/// The losses in metadata, as JSON; an empty object where there are none.
inline nlohmann::json losses_in(const nlohmann::json& metadata, const std::string& source) {
  nlohmann::json found = metadata.value("losses", nlohmann::json::object());
  require(found.is_object(), source, ": \"losses\" must be a JSON object, but is ", detail::value_text(found));
  return found;
}

/// The losses that a file's weights learned from, by name. Empty if its metadata does not say.
inline std::vector<std::string> learned_losses(const nlohmann::json& metadata, const std::string& source) {
  std::vector<std::string> names;
  // A resumed run keeps the options of losses that it lacks: `losses` may name more than `heads`.
  if (const auto heads = metadata.find("heads"); heads != metadata.end()) {
    require(heads->is_array(), source, ": \"heads\" must be an array, but is ", detail::value_text(*heads));
    for (const auto& name : *heads)
      if (name.is_string()) names.push_back(name.get<std::string>());
  } else {
    const nlohmann::json losses = losses_in(metadata, source);
    for (const auto& [name, options] : losses.items())
      if (options.is_object()) names.push_back(name);
  }
  return names;
}

/// The name that each of the model's parameters has in the file; empty for heads of a loss that the file was made
/// without. The name of a head may depend on the other losses: those of the file count.
template <const auto& D, class Parameters>
std::vector<std::string> names_in(const nlohmann::json& metadata, const std::string& source) {
  std::vector<std::string> names;
  for (const parameter_entry& entry : Parameters::entries()) names.push_back(entry.name);
  const std::vector<std::string> learned = learned_losses(metadata, source);
  if (learned.empty()) return names;
  const std::vector<std::string_view> losses(learned.begin(), learned.end());
  auto next = names.begin() + static_cast<std::ptrdiff_t>(Parameters::network_entries());
  typename Parameters::losses_type().for_each([&](auto loss) {
    loss.model = facts<D>::model;
    loss.model.losses = losses;
    parameter_table heads(Parameters::regions);
    loss.declare(heads);
    for (const parameter_entry& head : heads.entries()) *next++ = loss.model.has_loss(loss.name) ? head.name : "";
  });
  return names;
}

/// How the file's description differs from that of the model `D`, as a sentence. Empty if they agree, or the file has
/// none.
template <const auto& D>
std::string difference_to(const safetensors_file& file, const nlohmann::json& stored) {
  if (stored.is_null()) return "";
  if (facts<D>::merges && merge_name(stored) != merge_of<D>::name)
    return to_text("merge is '", merge_name(stored), "' in the file, but '", merge_of<D>::name, "' in the model");
  nlohmann::json comparable = stored;
  if (!facts<D>::merges) comparable.erase("merge");
  using described = std::remove_cvref_t<decltype(D)>;
  described own = D;
  if (!file.metadata().contains(metadata_key))
    for (int l = 0; l < own.levels.size(); ++l)
      own.levels[l].routing.capacity = as_version_0_1_wrote(own.levels[l].routing.capacity);
  return difference(description_from_json<described>(comparable, file.source()), own);
}
template <const auto& D>
std::string difference_to(const safetensors_file& file) {
  return difference_to<D>(file, description_in(file));
}

/// A flat buffer in the layout of the parameters, on the host.
template <class Scalar>
using parameter_values = std::vector<Scalar>;

/// Adds every parameter of `values` to a file under `prefix` + its name, as type `as`. `values` must live until the
/// file is written.
template <class Parameters, class Scalar>
void add_parameters(safetensors_writer& writer, const std::string& prefix, const parameter_values<Scalar>& values,
                    dtype as = dtype_of<Scalar>()) {
  for (const parameter_entry& entry : Parameters::entries())
    writer.add(prefix + entry.name, entry.shape, values.data() + entry.offset, as);
}

/// Reads the parameters from `prefix` + their `names`; those with an empty name keep their values.
template <class Parameters, class Scalar>
void read_parameters(const safetensors_file& file, const std::string& prefix, parameter_values<Scalar>& values,
                     const std::vector<std::string>& names) {
  auto name = names.begin();
  for (const parameter_entry& entry : Parameters::entries()) {
    if (!name->empty())
      file.copy_to(prefix + *name,
                   std::span<Scalar>(values.data() + entry.offset, static_cast<std::size_t>(entry.size)),
                   std::span<const index_type>(entry.shape));
    ++name;
  }
}

/// What a model takes from a file.
struct file_match {
  load_report report;
  std::vector<std::string> names;  ///< in the file, one per parameter; empty: the parameter keeps its values
};

/// Compares the model `D` with `Parameters` to the file. With `strict`, throws at any difference, except in heads of
/// losses.
template <const auto& D, class Parameters>
file_match compare_with(const safetensors_file& file, load_mode mode) {
  const nlohmann::json metadata = read_metadata(file);
  file_match match{{}, names_in<D, Parameters>(metadata, file.source())};
  load_report& report = match.report;
  const nlohmann::json stored = description_in(metadata, file.source());
  const bool strict = mode == load_mode::strict, described = !stored.is_null();
  report.difference = difference_to<D>(file, stored);
  require(!strict || report.difference.empty(), file.source(), ": the file is of another model: ", report.difference);
  std::set<std::string, std::less<>> known(match.names.begin(), match.names.end());
  auto name = match.names.begin();
  for (const parameter_entry& entry : Parameters::entries()) {
    const bool refuses = strict && name - match.names.begin() < Parameters::network_entries();
    if (name->empty() || !file.contains(*name)) {
      require(!refuses, file.source(), ": has no tensor '", entry.name, "'",
              described ? "" : "; it holds no description of a model, so another program wrote it");
      report.missing.push_back(entry.name);
      name->clear();
    } else if (const safetensors_entry& found = file.entry(*name); found.shape != entry.shape) {
      require(!refuses, file.source(), ": ", detail::shapes_differ(entry, found));
      report.mismatched.push_back(detail::shapes_differ(entry, found));
      name->clear();
    }
    ++name;
  }
  for (const detail::derived_tensor& derived : detail::derived_tensors<D>()) known.insert(derived.name);
  for (const safetensors_entry& entry : file.entries()) {
    if (known.contains(entry.name) || entry.name.starts_with(optimizer_prefix)) continue;
    // If the descriptions agree, the other tensors of the file belong to its losses.
    require(!strict || described || detail::is_head_of_loss(entry.name), file.source(), ": tensor '", entry.name,
            "' with shape ", detail::bracketed(std::span<const index_type>(entry.shape)), " is not one of the model");
    report.unused.push_back(entry.name);
  }
  return match;
}

/// A host copy of the model's weights.
template <class Model>
parameter_values<typename Model::scalar> weights_of(const Model& model) {
  const auto weights = model.weights();
  parameter_values<typename Model::scalar> values(static_cast<std::size_t>(weights.size()));
  download(model.backend(), weights, view<typename Model::scalar, 1>{values.data(), weights.shape});
  return values;
}

template <class Model>
void set_weights(Model& model, const parameter_values<typename Model::scalar>& values) {
  const auto weights = model.weights();
  upload(model.backend(), view<const typename Model::scalar, 1>{values.data(), weights.shape}, weights);
}

/// Writes the weights so that the reference package loads them (strictly), replacing `path` as a whole. `dtype::BF16`
/// and `dtype::F16` round them to 16 bits.
template <class Model>
void save_weights(const Model& model, const std::filesystem::path& path,
                  dtype as = dtype_of<typename Model::scalar>()) {
  exclusively(model.backend(), "saving weights", [&] {
    const auto values = weights_of(model);
    const auto derived = detail::derived_tensors<Model::description>();
    safetensors_writer writer;
    writer.set_metadata(metadata_key, nlohmann::json{{"format", file_format},
                                                     {"description", to_json(Model::description)},
                                                     {"heads", Model::losses_type::names}}
                                          .dump());
    add_parameters<typename Model::parameters_type>(writer, "", values, as);
    for (const detail::derived_tensor& each : derived)
      writer.add(each.name, {static_cast<index_type>(each.values.size())}, each.values.data());
    writer.write(path);
  });
}

/// Reads weights from a file of the reference package, of `save_weights` or a checkpoint. With `strict` the model
/// changes only if the file is of this model; heads of losses that the two do not share are left alone. With `matching`
/// it takes every tensor of equal name and shape. Returns what did not fit.
template <class Model>
load_report load_weights(Model& model, const std::filesystem::path& path, load_mode mode = load_mode::strict) {
  return exclusively(model.backend(), "loading weights", [&] {
    using parameters_type = typename Model::parameters_type;
    const safetensors_file file = safetensors_file::read(path);
    const file_match match = compare_with<Model::description, parameters_type>(file, mode);
    // If all weights come from the file, none need to be drawn.
    const bool keeps_some = std::ranges::any_of(match.names, [](const std::string& name) { return name.empty(); });
    if (keeps_some && !model.has_weights()) model.initialise(0);
    auto values =
        keeps_some ? weights_of(model)
                   : parameter_values<typename Model::scalar>(static_cast<std::size_t>(parameters_type::buffer_size));
    read_parameters<parameters_type>(file, "", values, match.names);
    set_weights(model, values);
    return match.report;
  });
}

}  // namespace strata
