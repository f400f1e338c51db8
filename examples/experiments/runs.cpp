#include "runs.hpp"

#include <algorithm>

#include <strata/io/file.hpp>

namespace experiments {

namespace {

nlohmann::json read_json(const fs::path& path) {
  const auto bytes = strata::read_file(path);
  const auto* const first = reinterpret_cast<const char*>(bytes.data());
  auto value = nlohmann::json::parse(first, first + bytes.size(), nullptr, false);
  strata::require(value.is_object(), path, " is not JSON of an experiment");
  return value;
}

void write_json(const fs::path& path, const nlohmann::json& value) {
  const std::string text = value.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
  strata::write_file_atomically(path, [&](auto& output) { output.write(text); });
}

template <class Named>
const Named& find_named(const std::vector<Named>& all, const std::string& name, const std::string& missing) {
  const auto found = std::find_if(all.begin(), all.end(), [&](const Named& each) { return each.name == name; });
  if (found != all.end()) return *found;
  std::string names;
  for (const Named& each : all) names += " " + each.name;
  strata::fail(missing, name, "'; there are:", names);
}

/// The first difference, such as "/description/depth is 3, not 4".
std::string difference(const nlohmann::json& stored, const nlohmann::json& today) {
  const nlohmann::json::json_pointer where(nlohmann::json::diff(today, stored)[0].at("path").get<std::string>());
  const auto value = [&](const nlohmann::json& of) { return of.contains(where) ? of.at(where).dump() : "missing"; };
  return where.to_string() + " is " + value(stored) + ", not " + value(today);
}

fs::path settings_path(const fs::path& folder) { return folder / "experiment.json"; }

std::string run_name(const std::string& configuration, std::uint64_t seed) {
  return configuration + "-" + std::to_string(seed);
}

}  // namespace

nlohmann::json to_json(const settings& own) {
  nlohmann::json value;
  for_each_setting(
      own, [&](std::string_view name, const auto& field) { value[std::string(name)] = strata::field_to_json(field); });
  return value;
}

settings read_settings(const fs::path& folder) try {
  const auto stored = read_json(settings_path(folder));
  settings own;
  for_each_setting(own, [&](std::string_view name, auto& field) {
    const auto& value = stored.at(std::string(name));
    if constexpr (strata::named_kind<std::remove_cvref_t<decltype(field)>>)
      strata::field_from_json(value, name, strata::to_text(settings_path(folder)), field);
    else
      value.get_to(field);
  });
  return own;
} catch (const nlohmann::json::exception& problem) {
  strata::fail(settings_path(folder), " holds no settings of an experiment: ", problem.what());
}

void keep_settings(const settings& own, const fs::path& folder) {
  const fs::path path = settings_path(folder);
  const nlohmann::json asked = to_json(own);
  if (!fs::exists(path)) return write_json(path, asked);
  const nlohmann::json stored = read_json(path);
  for (const auto& [name, value] : asked.items()) {
    const auto before = stored.value(name, nlohmann::json());
    strata::require(before == value, name, " is ", value.dump(), ", but the experiment in ", folder, " has ",
                    before.dump(), "; all its runs have the same settings: choose another folder with --out");
  }
}

const comparison& find_comparison(const std::string& name) {
  return find_named(all_comparisons(), name, "no table is called '");
}

const configuration& find_configuration(const comparison& among, const std::string& name) {
  return find_named(among.configurations, name, "in the table " + among.name + " no configuration is called '");
}

fs::path result_path(const fs::path& folder, const std::string& configuration, std::uint64_t seed) {
  return folder / "runs" / (run_name(configuration, seed) + ".json");
}
fs::path checkpoint_path(const fs::path& folder, const std::string& configuration, std::uint64_t seed) {
  return folder / "runs" / (run_name(configuration, seed) + ".safetensors");
}

void write_result(const result& own, const fs::path& folder) {
  write_json(result_path(folder, own.configuration, own.seed), own);
}

std::vector<result> read_results(const settings& shared, const fs::path& folder) {
  const comparison& among = find_comparison(shared.table);
  std::vector<result> results;
  for (const auto& entry : fs::directory_iterator(folder / "runs")) {
    const fs::path path = entry.path();
    if (path.extension() != ".json") continue;
    try {
      results.push_back(read_json(path).get<result>());
    } catch (const nlohmann::json::exception& problem) {
      strata::fail(path, " holds no result of a run: ", problem.what());
    }
    const result& own = results.back();
    const configuration& today = find_configuration(among, own.configuration);
    if (own.model != today.model)
      strata::fail(path, " is of another model than ", own.configuration,
                   " is now: ", difference(own.model, today.model), "; choose another folder with --out");
  }
  const auto position = [&](const result& own) { return &find_configuration(among, own.configuration); };
  std::sort(results.begin(), results.end(), [&](const result& a, const result& b) {
    return position(a) != position(b) ? position(a) < position(b) : a.seed < b.seed;
  });
  return results;
}

}  // namespace experiments
