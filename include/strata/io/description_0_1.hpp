// Descriptions in files of version 0.1: one line of text, read into today's JSON.
#pragma once

#include <charconv>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include <strata/core/error.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

/// Reads a text from the front; an unexpected text is an error.
class text_reader {
 public:
  text_reader(std::string_view text, const std::string& source) : text_(text), source_(source) {}
  bool done() const { return at_ == text_.size(); }
  bool takes(std::string_view expected) {
    if (!text_.substr(at_).starts_with(expected)) return false;
    at_ += expected.size();
    return true;
  }
  void take(std::string_view expected) {
    if (!takes(expected)) fail_here(expected);
  }
  template <class Number = int>
  Number number() {
    Number value{};
    const char* const begin = text_.data() + at_;
    const auto [end, problem] = std::from_chars(begin, text_.data() + text_.size(), value);
    if (problem != std::errc()) fail_here("a number");
    at_ += static_cast<std::size_t>(end - begin);
    return value;
  }
  template <class Number = int>
  Number number_after(std::string_view expected) {
    take(expected);
    return number<Number>();
  }
  std::string word() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && text_[at_] != ',' && text_[at_] != ';' && text_[at_] != ' ') ++at_;
    if (at_ == begin) fail_here("a word");
    return std::string(text_.substr(begin, at_ - begin));
  }
  /// The text before the next semicolon.
  std::string rest_of_part() {
    const std::size_t end = std::min(text_.find(';', at_), text_.size()), begin = at_;
    at_ = end;
    return std::string(text_.substr(begin, end - begin));
  }

 private:
  [[noreturn]] void fail_here(std::string_view expected) const {
    fail(source_, ": the description of the model, of version 0.1, is damaged: '", expected, "' is expected at byte ",
         at_, " of '", text_, "'");
  }
  std::string_view text_;
  const std::string& source_;
  std::size_t at_ = 0;
};

}  // namespace detail

/// The number that is read where version 0.1 wrote this one: it wrote 6 digits.
inline double as_version_0_1_wrote(double number) {
  const std::string text = to_text(number);
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

/// What version 0.1 wrote about a model: its description, with the options of training in it.
struct description_of_0_1 {
  nlohmann::json description = nlohmann::json::object();
  nlohmann::json losses = nlohmann::json::object();
  nlohmann::json options = nlohmann::json::object();
};

inline description_of_0_1 read_description_of_0_1(std::string_view text, const std::string& source) {
  using nlohmann::json;
  detail::text_reader in(text, source);
  description_of_0_1 result;
  json& own = result.description;
  own["vocabulary"] = in.number_after("vocabulary ");
  own["max_length"] = in.number_after(", max_length ");
  own["depth"] = in.number_after(", depth ");
  own["predicting_level"] = in.number_after(", predicting level ");
  own["receiving_levels"] = json::array();
  in.take(", merge into ");
  if (in.takes("all")) {
    own["receiving_levels"].push_back("every");
  } else if (in.takes("levels")) {
    while (in.takes(" ")) own["receiving_levels"].push_back(in.number());
  } else {
    if (!in.takes("none")) in.take("predicting");
    own["receiving_levels"].push_back("predicting");
  }
  in.take(", logits from ");
  own["logits"] = in.takes("all") ? "all_levels" : (in.take("predicting"), "predicting_level");
  own["merge"] = {{"name", "concatenate"}};
  if (in.takes(", merge level_attention")) {
    json& merge = own["merge"] = {{"name", "level_attention"}};
    merge["heads"] = in.number_after(", heads ");
    merge["head_dim"] = in.number_after("x");
    merge["window"] = in.number_after(", window ");
    in.take(", direction ");
    merge["direction"] = in.word();
  } else if (in.takes(", merge level_shift")) {
    own["merge"] = {{"name", "level_shift"}, {"feed_forward_multiple", in.number_after(", hidden ")}};
    in.take(" times the width");
  } else if (in.takes(", merge separable")) {
    own["merge"] = {{"name", "separable"}};
  }
  own["levels"] = json::array();
  while (!in.done()) {
    in.take("; ");
    if (in.takes("compression ")) {
      json level = json::object();
      level["compression"] = in.number();
      level["stride"] = in.number_after(", stride ");
      const int dim = in.number_after(", dim ");
      require(dim > 0, source, ": the description of the model, of version 0.1, has a level of width ", dim);
      level["dim"] = dim;
      level["heads"] = in.number_after(", heads ");
      level["head_dim"] = in.number_after("x");
      in.take(", window ");
      if (in.takes("full"))
        level["window"] = "full";
      else
        level["window"] = in.number();
      const int hidden = in.number_after(", hidden ") / dim;
      if (in.takes(", compressor ")) level["compressor"] = in.word();
      if (in.takes(", routed hidden ")) {
        level["feed_forward_multiple"] = in.number() / dim;
        level["routing"] = {{"light_multiple", hidden}, {"capacity", in.number_after<double>(", capacity ")}};
      } else {
        level["feed_forward_multiple"] = hidden;
      }
      own["levels"].push_back(level);
    } else if (in.takes("hourglass of ")) {
      json& fine = own["fine_layers"] = json::object();
      fine["before"] = in.number();
      fine["after"] = in.number_after(" + ");
      in.take(" fine layers");
      fine["upsampling"] = in.takes(", lengthened by attention") ? "attention" : "linear";
    } else if (in.takes("attention weights shared")) {
      own["share_attention"] = true;
    } else if (in.takes("dropout of embeddings ")) {
      result.options["embedding_dropout"] = in.number<double>();
      result.options["attention_dropout"] = in.number_after<double>(", attention ");
      result.options["feed_forward_dropout"] = in.number_after<double>(", feed-forward ");
    } else if (in.takes("prophet_quantized: ")) {
      const std::string rest = in.rest_of_part();
      result.losses["prophet_quantized"]["source"] =
          rest.ends_with("final embeddings") ? "final_embeddings" : "compressed_tokens";
    } else if (in.takes("next_latent by ")) {
      json& loss = result.losses["next_latent"];
      loss["distance"] = in.word();
      loss["rollouts"] = in.number_after(", rollouts ");
      loss["rollout_decay"] = in.number_after<double>(", decay ");
      in.take(", summaries ");
      loss["detach_summaries"] = in.word() == "detached";
      in.take(", targets ");
      loss["detach_targets"] = in.word() == "detached";
    } else {
      in.take("sigmoid_contrastive with detached targets");
      result.losses["sigmoid_contrastive"]["detach_targets"] = true;
    }
  }
  return result;
}

}  // namespace strata
