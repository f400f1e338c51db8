// A description as JSON and as C++, and read back; the difference between the description of a file and that of a
// program.
// Source: the keys are the names of the fields; docs/files.md.
#pragma once

#include <concepts>
#include <cstdint>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include <strata/config/description.hpp>
#include <strata/config/facts.hpp>
#include <strata/core/error.hpp>
#include <strata/core/named_kind.hpp>
#include <strata/io/json.hpp>
#include <strata/merges/merges.hpp>

namespace strata::inline STRATA_ABI {

// Fields as JSON ----------------------------------------------------------------------------------------------------

/// The JSON of one field.
template <class Field>
nlohmann::json field_to_json(const Field& field) {
  if constexpr (named_kind<Field>)
    return std::string(name_of(field));
  else
    return field;
}

/// Reads one field; throws with `source`, the key and the value if it does not fit.
template <class Field>
void field_from_json(const nlohmann::json& value, std::string_view key, const std::string& source, Field& field) {
  if constexpr (named_kind<Field>) {
    const auto names = names_of(field);
    std::string known;
    for (std::size_t n = 0; n < names.size(); ++n) {
      if (value.is_string() && value.get_ref<const std::string&>() == names[n]) {
        field = static_cast<Field>(n);
        return;
      }
      known.append(n == 0 ? "" : ", ").append(names[n]);
    }
    fail(source, ": ", detail::printable(key), " is ", detail::value_text(value), ", but must be one of ", known);
  } else if constexpr (std::same_as<Field, bool>) {
    require(value.is_boolean(), source, ": ", detail::printable(key), " is ", detail::value_text(value),
            ", but must be true or false");
    field = value.get<bool>();
  } else {
    field = to_number<Field>(value, key, source);
    // The operations compute with floats.
    if constexpr (std::floating_point<Field>) require_float(static_cast<double>(field), key, source);
  }
}

/// The options of a merge or a loss as a JSON object.
template <class Part>
nlohmann::json options_to_json(const Part& part) {
  nlohmann::json object = nlohmann::json::object();
  if constexpr (requires { Part::for_each_option(part, [](const char*, const auto&) {}); })
    Part::for_each_option(part, [&](const char* key, const auto& value) { object[key] = field_to_json(value); });
  return object;
}
/// Reads the options that `object` has; the others keep their values.
template <class Part>
void options_from_json(const nlohmann::json& object, const std::string& source, Part& part) {
  if constexpr (requires { Part::for_each_option(part, [](const char*, auto&) {}); })
    Part::for_each_option(part, [&](const char* key, auto& value) {
      if (const auto found = object.find(key); found != object.end()) field_from_json(*found, key, source, value);
    });
}

namespace detail {

/// Special numbers are words in JSON.
struct named_number {
  int number;
  const char* json;
  const char* cpp;
};
inline constexpr named_number windows[] = {{full_attention, "full", "strata::full_attention"},
                                           {automatic_window, "automatic", "strata::automatic_window"}};
inline constexpr named_number receivers[] = {{the_predicting_level, "predicting", "strata::the_predicting_level"},
                                             {every_level, "every", "strata::every_level"}};
inline constexpr named_number predictors[] = {{least_compressed, "least_compressed", "strata::least_compressed"}};

template <class Names>
nlohmann::json number_to_json(int number, const Names& names) {
  for (const named_number& each : names)
    if (each.number == number) return each.json;
  return number;
}
template <class Names>
int number_from_json(const nlohmann::json& value, std::string_view key, const std::string& source, const Names& names) {
  std::string known;
  for (const named_number& each : names) {
    if (value.is_string() && value.get_ref<const std::string&>() == each.json) return each.number;
    known.append(", ").append(printable(each.json));
  }
  require(value.is_number_integer(), source, ": ", printable(key), " is ", value_text(value), ", but must be a number",
          known);
  return to_number<int>(value, key, source, 0);
}
template <class Names>
std::string number_to_cpp(int number, const Names& names) {
  for (const named_number& each : names)
    if (each.number == number) return each.cpp;
  return std::to_string(number);
}

/// Calls visit(key, field) for every field of a level that has no special numbers.
template <class Level, class Visit>
void for_each_field_of_level(Level& own, Visit visit) {
  visit("compression", own.compression);
  visit("stride", own.stride);
  visit("dim", own.dim);
  visit("heads", own.heads);
  visit("head_dim", own.head_dim);
  visit("feed_forward_multiple", own.feed_forward_multiple);
  visit("compressor", own.compressor);
  visit("before", own.before);
  visit("after", own.after);
  visit("upsampling", own.upsampling);
}
template <class Description, class Visit>
void for_each_field_of_description(Description& own, Visit visit) {
  visit("vocabulary", own.vocabulary);
  visit("max_length", own.max_length);
  visit("depth", own.depth);
  visit("logits", own.logits);
  visit("token_shift", own.token_shift);
  visit("share_attention", own.share_attention);
}
template <class Object, class Fields, class Visit>
void read_fields(const nlohmann::json& object, const std::string& source, Object& own, Fields fields, Visit more) {
  require(object.is_object(), source, ": must be a JSON object, but is ", value_text(object));
  const auto read = [&](const char* key, auto& field) {
    if (const auto found = object.find(key); found != object.end()) field_from_json(*found, key, source, field);
  };
  fields(own, read);
  more([&](const char* key, auto use) {
    if (const auto found = object.find(key); found != object.end()) use(*found);
  });
}

inline nlohmann::json ngrams_to_json(const ngram_list& own) {
  nlohmann::json array = nlohmann::json::array();
  for (const ngram& each : own) array.push_back({{"length", each.length}, {"rows", each.rows}});
  return array;
}
inline ngram_list ngrams_from_json(const nlohmann::json& array, const std::string& source) {
  require(array.is_array() && array.size() <= static_cast<std::size_t>(ngram_list::most), source,
          ": \"ngrams\" must be an array of at most ", ngram_list::most, " tables");
  ngram_list all;
  for (std::size_t k = 0; k < array.size(); ++k) {
    ngram own;
    const std::string where = to_text(source, ": ngrams: table ", k);
    read_fields(
        array[k], where, own,
        [](auto& table, auto visit) {
          visit("length", table.length);
          visit("rows", table.rows);
        },
        [](auto) {});
    require(own.length >= 2 && own.length <= longest_ngram, where, ": \"length\" is ", own.length,
            ", but must be from 2 to ", longest_ngram);
    require(own.rows >= 0 && own.rows <= most_ngram_rows, where, ": \"rows\" is ", own.rows, ", but must be from 0 to ",
            most_ngram_rows);
    all.push_back(own);
  }
  return all;
}

/// The rule of a name. A rule that the library does not have cannot be used, only compared by its name.
inline boundary_rule boundaries_of_name(const std::string& name) {
  for (const boundary_rule& each : boundaries::all)
    if (each.name == name) return each;
  static std::set<std::string> names;
  static std::mutex guard;
  const std::scoped_lock lock(guard);
  return {.name = *names.insert(name).first, .begins = [](std::span<const token>) { return false; }};
}

inline nlohmann::json level_to_json(const level& own) {
  nlohmann::json object = nlohmann::json::object();
  for_each_field_of_level(own, [&](const char* key, const auto& field) { object[key] = field_to_json(field); });
  object["window"] = number_to_json(own.window, windows);
  object["routing"] = {{"light_multiple", own.routing.light_multiple}, {"capacity", own.routing.capacity}};
  object["ngrams"] = ngrams_to_json(own.ngrams);
  object["boundaries"] = std::string(own.boundaries.name);
  return object;
}
inline level level_from_json(const nlohmann::json& object, const std::string& source) {
  level own;
  read_fields(
      object, source, own, [](auto& level, auto visit) { for_each_field_of_level(level, visit); },
      [&](auto found) {
        found("window", [&](const auto& value) { own.window = number_from_json(value, "window", source, windows); });
        found("ngrams", [&](const auto& value) { own.ngrams = ngrams_from_json(value, source); });
        found("boundaries", [&](const auto& value) {
          require(value.is_string(), source, ": \"boundaries\" must be the name of a rule, but is ", value_text(value));
          own.boundaries = boundaries_of_name(value.template get<std::string>());
        });
        found("routing", [&](const auto& value) {
          read_fields(
              value, source + ": routing", own.routing,
              [](auto& routing, auto visit) {
                visit("light_multiple", routing.light_multiple);
                visit("capacity", routing.capacity);
              },
              [](auto) {});
        });
      });
  // Products of these numbers stay far from the largest int.
  const auto check = [&](const char* key, int value, int least, int most) {
    require(value >= least && value <= most, source, ": ", printable(key), " is ", value, ", but must be from ", least,
            " to ", most);
  };
  check("compression", own.compression, 1, largest_compression);
  check("stride", own.stride, 1, largest_compression);
  check("dim", own.dim, 0, largest_factor);
  check("heads", own.heads, 0, largest_factor);
  check("head_dim", own.head_dim, 0, largest_factor);
  check("feed_forward_multiple", own.feed_forward_multiple, 0, largest_factor);
  check("routing.light_multiple", own.routing.light_multiple, 0, largest_factor);
  check("before", own.before, 0, largest_factor);
  check("after", own.after, 0, largest_factor);
  return own;
}

constexpr bool in_identifier(char each) {
  return (each >= 'a' && each <= 'z') || (each >= 'A' && each <= 'Z') || (each >= '0' && each <= '9') || each == '_';
}
/// Fails unless `text` consists of letters, digits, underscores and `more`. Anything else could be code.
inline void require_cpp_name(std::string_view text, std::string_view what, std::string_view more = "") {
  for (const char each : text)
    require(in_identifier(each) || more.find(each) != more.npos, "description: ", what, " is ", printable(text),
            ", which is no name in C++");
  require(!text.empty(), "description: ", what, " is empty");
}

/// The type of a merge. Those of the library have names without a namespace.
inline std::string merge_to_cpp(const std::string& name) {
  require_cpp_name(name, "the name of the merge", ":");
  return name.find(':') == name.npos ? "strata::" + name : name;
}
/// Statements that set the options of a merge `m`. This program may not know the type.
inline std::string options_to_cpp(const nlohmann::json& options) {
  std::string text;
  for (const auto& [key, value] : options.items()) {
    if (key == "name") continue;
    require_cpp_name(key, "an option of the merge");
    text += " m." + key + " = ";
    if (value.is_string()) {  // an enumerator
      const auto& name = value.get_ref<const std::string&>();
      require_cpp_name(name, "the option " + key + " of the merge");
      text += "decltype(m." + key + ")::" + name;
    } else {
      require(value.is_number() || value.is_boolean(), "description: the option ", key, " of the merge is ",
              value_text(value), ", but must be a number, a truth value or a name");
      text += value_text(value);
      if (value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX) text += 'u';
    }
    text += ';';
  }
  return text;
}

}  // namespace detail

/// In files of older versions, which had an hourglass of two levels only: what levels say themselves now.
inline constexpr const char* layers_of_two_levels = "fine_layers";

template <class Merge>
nlohmann::json to_json(const basic_description<Merge>& own) {
  nlohmann::json object = nlohmann::json::object();
  detail::for_each_field_of_description(
      own, [&](const char* key, const auto& field) { object[key] = field_to_json(field); });
  object["merge"] = options_to_json(own.merge);
  object["merge"]["name"] = std::string(Merge::name);
  object["ngrams"] = detail::ngrams_to_json(own.ngrams);
  object["levels"] = nlohmann::json::array();
  for (const level& each : own.levels) object["levels"].push_back(detail::level_to_json(each));
  object["predicting_level"] = detail::number_to_json(own.predicting_level, detail::predictors);
  object["receiving_levels"] = nlohmann::json::array();
  for (const int each : own.receiving_levels)
    object["receiving_levels"].push_back(detail::number_to_json(each, detail::receivers));
  return object;
}

/// `own`, with the keys that only `kept` has: objects and the elements of arrays are merged too.
inline nlohmann::json with_other_keys(const nlohmann::json& own, const nlohmann::json& kept) {
  if (own.is_array() && kept.is_array() && own.size() == kept.size()) {
    nlohmann::json all = nlohmann::json::array();
    for (std::size_t n = 0; n < own.size(); ++n) all.push_back(with_other_keys(own[n], kept[n]));
    return all;
  }
  if (!own.is_object() || !kept.is_object()) return own;
  nlohmann::json all = kept;
  for (const auto& [key, value] : own.items()) all[key] = with_other_keys(value, all[key]);
  return all;
}

/// The name of the merge in the JSON of a description.
inline std::string merge_name(const nlohmann::json& object) {
  const auto merge = object.find("merge");
  if (merge == object.end() || !merge->is_object()) return std::string(concatenate::name);
  const auto name = merge->find("name");
  return name != merge->end() && name->is_string() ? name->get<std::string>() : std::string(concatenate::name);
}

/// Reads a description with the merge of `Description`. Ignores unknown keys; fields without a key keep their default.
/// Throws with `source` if a value does not fit.
template <class Description = description>
Description description_from_json(const nlohmann::json& object, const std::string& source = "description") {
  using namespace detail;
  Description own;
  using merge_type = std::remove_cvref_t<decltype(own.merge)>;
  read_fields(
      object, source, own, [](auto& read, auto visit) { for_each_field_of_description(read, visit); },
      [&](auto found) {
        found("merge", [&](const auto& value) {
          require(value.is_object(), source, ": \"merge\" must be a JSON object, but is ", value_text(value));
          require(merge_name(object) == merge_type::name, source, ": merge is '", merge_name(object), "', but '",
                  merge_type::name, "' is asked for");
          options_from_json(value, source + ": merge", own.merge);
        });
        found("levels", [&](const auto& value) {
          require(value.is_array() && value.size() >= 1 && value.size() <= most_levels, source,
                  ": \"levels\" must be an array of 1 to ", most_levels, " levels");
          for (std::size_t l = 0; l < value.size(); ++l)
            own.levels.push_back(level_from_json(value[l], to_text(source, ": level ", l)));
        });
        found("ngrams", [&](const auto& value) { own.ngrams = ngrams_from_json(value, source); });
        found("predicting_level", [&](const auto& value) {
          own.predicting_level = number_from_json(value, "predicting_level", source, predictors);
        });
        found("receiving_levels", [&](const auto& value) {
          require(value.is_array() && value.size() <= most_levels, source,
                  ": \"receiving_levels\" must be an array of at most ", most_levels);
          own.receiving_levels = {};
          for (const auto& each : value)
            own.receiving_levels.push_back(number_from_json(each, "receiving_levels", source, receivers));
        });
        found(layers_of_two_levels, [&](const auto& value) {
          level fine, coarse;
          read_fields(
              value, source + ": fine_layers", fine,
              [&](auto& layers, auto visit) {
                visit("before", layers.before);
                visit("after", layers.after);
                visit("upsampling", coarse.upsampling);
              },
              [](auto) {});
          for (int l = 0; l < own.levels.size(); ++l) {
            level& each = own.levels[l];
            if (each.compression == 1)
              each.before = fine.before, each.after = fine.after;
            else
              each.upsampling = coarse.upsampling;
          }
        });
      });
  require(own.max_length >= 1 && own.max_length <= largest_length, source, ": \"max_length\" is ", own.max_length,
          ", but must be from 1 to ", largest_length);
  return own;
}

// As C++ ------------------------------------------------------------------------------------------------------------

/// The JSON of a description as C++ to paste into a program. Fields with their default are left out.
inline std::string to_cpp(const nlohmann::json& object) {
  using namespace detail;
  // This program may not know the merge: its options are copied from the file.
  require(object.is_object(), "description: must be a JSON object, but is ", value_text(object));
  nlohmann::json plain = object;
  plain.erase("merge");
  const auto own = description_from_json<description>(plain);
  const description defaults;
  const std::string merge_type = merge_to_cpp(merge_name(object));
  std::string fields;
  const auto add = [&](std::string_view key, const std::string& value) {
    fields.append(fields.empty() ? "\n    ." : ",\n    .").append(key).append(" = ").append(value);
  };
  if (own.vocabulary != defaults.vocabulary) add("vocabulary", std::to_string(own.vocabulary));
  add("max_length", std::to_string(own.max_length));
  add("depth", std::to_string(own.depth));
  if (const auto found = object.find("merge"); found != object.end() && found->is_object())
    if (const std::string options = options_to_cpp(*found); !options.empty())
      add("merge", "strata::with(" + merge_type + "{}, [](auto& m) {" + options + " })");
  const auto ngrams_to_cpp = [](const ngram_list& all) {
    std::string text;
    for (const ngram& each : all) {
      text += to_text(text.empty() ? "{" : ", {", ".length = ", each.length);
      if (each.rows != 0) text += to_text(", .rows = ", each.rows);
      text += '}';
    }
    return to_text('{', text, '}');
  };
  std::string levels;
  for (const level& each : own.levels) {
    const level plain_level;
    std::string inside;
    const auto field = [&](const char* key, const std::string& value) {
      inside.append(inside.empty() ? "." : ", .").append(key).append(" = ").append(value);
    };
    if (each.compression != 1) field("compression", std::to_string(each.compression));
    if (each.stride != 1) field("stride", std::to_string(each.stride));
    field("dim", std::to_string(each.dim));
    field("heads", std::to_string(each.heads));
    field("head_dim", std::to_string(each.head_dim));
    if (each.window != automatic_window) field("window", number_to_cpp(each.window, windows));
    if (each.feed_forward_multiple != plain_level.feed_forward_multiple)
      field("feed_forward_multiple", std::to_string(each.feed_forward_multiple));
    if (each.routing != plain_level.routing)
      field("routing", to_text("{.light_multiple = ", each.routing.light_multiple,
                               ", .capacity = ", digits(each.routing.capacity), "}"));
    if (each.compressor != plain_level.compressor)
      field("compressor", to_text("strata::compressor_kind::", name_of(each.compressor)));
    if (each.ngrams.size() > 0) field("ngrams", ngrams_to_cpp(each.ngrams));
    if (each.before != 0) field("before", std::to_string(each.before));
    if (each.after != 0) field("after", std::to_string(each.after));
    if (each.boundaries != plain_level.boundaries) {
      require_cpp_name(each.boundaries.name, "the name of the rule of boundaries", ":");
      const bool own_rule = std::ranges::none_of(
          boundaries::all, [&](const boundary_rule& known) { return known.name == each.boundaries.name; });
      field("boundaries", to_text(own_rule ? "" : "strata::boundaries::", each.boundaries.name));
    }
    if (each.upsampling != plain_level.upsampling)
      field("upsampling", to_text("strata::upsampling_kind::", name_of(each.upsampling)));
    levels.append(levels.empty() ? "" : ",\n               ").append("{").append(inside).append("}");
  }
  add("levels", "{" + levels + "}");
  if (own.ngrams.size() > 0) add("ngrams", ngrams_to_cpp(own.ngrams));
  if (own.token_shift != defaults.token_shift)
    add("token_shift", to_text("strata::token_shift_kind::", name_of(own.token_shift)));
  if (own.predicting_level != defaults.predicting_level)
    add("predicting_level", number_to_cpp(own.predicting_level, predictors));
  if (own.receiving_levels != defaults.receiving_levels) {
    std::string receiving;
    for (const int each : own.receiving_levels)
      receiving.append(receiving.empty() ? "" : ", ").append(number_to_cpp(each, receivers));
    add("receiving_levels", "{" + receiving + "}");
  }
  if (own.logits != defaults.logits) add("logits", to_text("strata::logits_source::", name_of(own.logits)));
  if (own.share_attention) add("share_attention", "true");

  const std::string type = merge_name(object) == std::remove_cvref_t<decltype(defaults.merge)>::name
                               ? "strata::description"
                               : "strata::basic_description<" + merge_type + ">";
  return "inline constexpr " + type + " model{" + fields + "};\n";
}

// What differs ------------------------------------------------------------------------------------------------------

/// The first difference that changes what the network computes, as a sentence, or nothing. Fields that lead to the same
/// network do not differ: an automatic window and its number, or `max_length` where all windows are numbers.
template <class Merge>
std::string difference(const basic_description<Merge>& file, const basic_description<Merge>& program) {
  std::string found;
  const auto shown = [](const auto& value) {
    if constexpr (std::is_floating_point_v<std::remove_cvref_t<decltype(value)>>)
      return detail::digits(value);
    else
      return to_text(value);
  };
  const auto compare = [&](std::string_view what, const auto& there, const auto& here) {
    if (found.empty() && !(there == here))
      found = to_text(what, " is ", shown(there), " in the file, but ", shown(here), " in the model");
  };
  compare("vocabulary", file.vocabulary, program.vocabulary);
  compare("depth", file.depth, program.depth);
  compare("the number of levels", derived::level_count(file), derived::level_count(program));
  if (!found.empty()) return found;
  const auto there = derived::levels(file), here = derived::levels(program);
  for (std::size_t l = 0; l < static_cast<std::size_t>(derived::level_count(file)); ++l) {
    const std::string level = to_text("level ", l, ": ");
    const auto window = [](const level_facts& facts) {
      return facts.full ? std::string("full") : std::to_string(facts.span == 0 ? 0 : facts.span - 1);
    };
    const auto compressor = [](const level_facts& facts) {
      return name_of(facts.pools  ? compressor_kind::attention
                     : facts.pads ? compressor_kind::padding
                                  : compressor_kind::convolution);
    };
    compare(level + "compression", there[l].compression, here[l].compression);
    compare(level + "stride", there[l].stride, here[l].stride);
    compare(level + "dim", there[l].dim, here[l].dim);
    compare(level + "heads", there[l].heads, here[l].heads);
    compare(level + "head_dim", there[l].head_dim, here[l].head_dim);
    compare(level + "window", window(there[l]), window(here[l]));
    if (there[l].full) compare(level + "attention is full, and max_length", file.max_length, program.max_length);
    compare(level + "the hidden width of the feed-forward", there[l].hidden, here[l].hidden);
    compare(level + "the hidden width of the routed feed-forward", there[l].heavy_hidden, here[l].heavy_hidden);
    compare(level + "routing.capacity", there[l].capacity, here[l].capacity);
    compare(level + "compressor", compressor(there[l]), compressor(here[l]));
    const int n = static_cast<int>(l);
    compare(level + "before", file.levels[n].before, program.levels[n].before);
    compare(level + "after", file.levels[n].after, program.levels[n].after);
    compare(level + "boundaries", file.levels[n].boundaries.name, program.levels[n].boundaries.name);
    compare(level + "upsampling", name_of(file.levels[n].upsampling), name_of(program.levels[n].upsampling));
  }
  const auto tables = [](const auto& own) {
    std::string text;
    derived::for_each_ngram_table(own, [&](const ngram_facts& each) {
      text += to_text(text.empty() ? "" : ", ", each.rows, " rows of length ", each.length);
      if (each.level >= 0) text += to_text(" at level ", each.level);
    });
    return text.empty() ? std::string("none") : text;
  };
  compare("the list of n-gram tables", tables(file), tables(program));
  compare("token_shift", name_of(file.token_shift), name_of(program.token_shift));
  compare("predicting_level", derived::predicting_level(file), derived::predicting_level(program));
  compare("logits", name_of(file.logits), name_of(program.logits));
  compare("share_attention", file.share_attention, program.share_attention);
  if (!derived::merges(program)) return found;
  for (int l = 0; l < derived::level_count(file); ++l)
    compare(to_text("whether level ", l, " receives the merge"), derived::receives(file, l),
            derived::receives(program, l));
  compare("the options of the merge", options_to_json(file.merge).dump(), options_to_json(program.merge).dump());
  return found;
}

}  // namespace strata
