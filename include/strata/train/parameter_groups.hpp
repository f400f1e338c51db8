// Parameters that learn at other rates than the rest, or not at all, chosen by name.
#pragma once

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <strata/backend/backend.hpp>
#include <strata/core/error.hpp>
#include <strata/core/tensor_table.hpp>
#include <strata/io/description.hpp>
#include <strata/io/json.hpp>

namespace strata::inline STRATA_ABI {

/// All parameters whose names match `pattern`, in which * stands for any letters and ? for one. The names are those in
/// files, such as "layers.0.0.1.to_out.weight". If several groups match a name, their rates multiply, the last weight
/// decay counts, and any of them freezes it.
struct parameter_group {
  std::string pattern;
  double rate = 1;                          ///< times the learning rate, of Muon too
  std::optional<double> weight_decay = {};  ///< instead of the optimizer's; vectors and tables have none
  bool frozen = false;                      ///< their gradients count as zero, and they do not change
  bool operator==(const parameter_group&) const = default;
};

inline nlohmann::json to_json(const parameter_group& group) {
  nlohmann::json object{{"pattern", group.pattern}, {"rate", group.rate}, {"frozen", group.frozen}};
  if (group.weight_decay) object["weight_decay"] = *group.weight_decay;
  return object;
}
inline std::vector<parameter_group> groups_from_json(const nlohmann::json& list, const std::string& source) {
  require(list.is_array(), source, ": \"groups\" must be a list, but is ", detail::value_text(list));
  std::vector<parameter_group> groups;
  for (const nlohmann::json& object : list) {
    const std::string where = source + ": groups";
    require(object.is_object() && object.contains("pattern") && object["pattern"].is_string(), where,
            ": a group must have a pattern, but is ", detail::value_text(object));
    parameter_group own{.pattern = object["pattern"].get<std::string>()};
    if (const auto found = object.find("rate"); found != object.end()) field_from_json(*found, "rate", where, own.rate);
    if (const auto found = object.find("frozen"); found != object.end())
      field_from_json(*found, "frozen", where, own.frozen);
    if (const auto found = object.find("weight_decay"); found != object.end())
      field_from_json(*found, "weight_decay", where, own.weight_decay.emplace());
    groups.push_back(std::move(own));
  }
  return groups;
}

namespace detail {

/// Whether `name` matches a pattern with * and ?.
constexpr bool matches(std::string_view pattern, std::string_view name) {
  std::size_t p = 0, n = 0, star = std::string_view::npos, after = 0;
  while (n < name.size()) {
    if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n]) && pattern[p] != '*') {
      ++p, ++n;
    } else if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      after = n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++after;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

/// Neighbours in the flat buffers of parameters that are updated alike.
struct update_range {
  index_type first = 0, size = 0;
  double rate = 1;
  std::optional<double> weight_decay = {};
  bool decays = false;  ///< matrices do, vectors do not
  bool frozen = false;
  bool as(const update_range& other) const {
    return rate == other.rate && weight_decay == other.weight_decay && decays == other.decays && frozen == other.frozen;
  }
};
/// Hidden matrices that Muon updates alike.
struct muon_matrices {
  double rate = 1;
  std::optional<double> weight_decay = {};
  std::vector<matrix_place> places = {};
};

/// How `entry` is updated as a member of all groups that match its name. Calls matched(index of the group) for each.
template <class Matched>
update_range update_of(const parameter_entry& entry, const std::vector<parameter_group>& groups, Matched matched) {
  update_range own{.first = entry.offset, .size = entry.size};
  own.decays = entry.kind == parameter_kind::hidden_matrix || entry.kind == parameter_kind::other_matrix;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    if (!matches(groups[g].pattern, entry.name)) continue;
    matched(g);
    own.rate *= groups[g].rate;
    if (groups[g].weight_decay) own.weight_decay = groups[g].weight_decay;
    own.frozen = own.frozen || groups[g].frozen;
  }
  return own;
}
inline update_range update_of(const parameter_entry& entry, const std::vector<parameter_group>& groups) {
  return update_of(entry, groups, [](std::size_t) {});
}

/// How a step updates the parameters in groups. Without groups it does not need this.
struct update_plan {
  std::vector<update_range> ranges;   ///< of all but tables, in order
  std::vector<muon_matrices> hidden;  ///< of all that are not frozen
  std::vector<update_range> tables;   ///< one for each table of n-grams
};

inline update_plan plan_updates(const std::vector<parameter_entry>& entries, const parameter_regions& regions,
                                const std::vector<parameter_group>& groups) {
  update_plan plan;
  std::vector<std::size_t> matched(groups.size());
  std::vector<const parameter_entry*> in_order;
  for (const parameter_entry& entry : entries) in_order.push_back(&entry);
  std::ranges::sort(in_order, {}, &parameter_entry::offset);
  for (const parameter_entry* entry : in_order) {
    const update_range own = update_of(*entry, groups, [&](std::size_t group) { ++matched[group]; });
    if (entry->kind == parameter_kind::hidden_matrix && !own.frozen) {
      const auto alike = [&](const muon_matrices& each) {
        return each.rate == own.rate && each.weight_decay == own.weight_decay;
      };
      auto found = std::ranges::find_if(plan.hidden, alike);
      if (found == plan.hidden.end()) found = plan.hidden.insert(found, {own.rate, own.weight_decay, {}});
      const index_type rows = entry->shape[0] / entry->parts, columns = entry->size / entry->shape[0];
      for (int part = 0; part < entry->parts; ++part)
        found->places.push_back({entry->offset + part * rows * columns, rows, columns});
    }
    if (entry->offset >= regions.first_table) {
      plan.tables.push_back(own);
    } else if (!plan.ranges.empty() && plan.ranges.back().as(own) && entry->offset != regions.first_other_matrix) {
      plan.ranges.back().size = own.first + own.size - plan.ranges.back().first;
    } else {
      plan.ranges.push_back(own);
    }
  }
  for (std::size_t g = 0; g < groups.size(); ++g) {
    require(matched[g] > 0, "no parameter has a name like \"", groups[g].pattern, "\"; names are ",
            entries.front().name, ", ", entries[entries.size() / 2].name, " and so on");
    require(groups[g].rate >= 0 && std::isfinite(groups[g].rate), "the rate of the parameters \"", groups[g].pattern,
            "\" must be a finite number that is not negative, not ", groups[g].rate);
    require(!groups[g].weight_decay || (*groups[g].weight_decay >= 0 && std::isfinite(*groups[g].weight_decay)),
            "the weight decay of the parameters \"", groups[g].pattern,
            "\" must be a finite number that is not negative, not ", groups[g].weight_decay.value_or(0));
  }
  return plan;
}

}  // namespace detail

}  // namespace strata
