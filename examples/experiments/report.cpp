#include "report.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <functional>

#include <strata/io/description.hpp>
#include <strata/io/file.hpp>

#include "../console.hpp"
#include "../plot.hpp"

namespace experiments {

namespace {

using examples::curve, examples::escaped, examples::fixed, examples::line, examples::mean_line, examples::plot;
using examples::readable, examples::svg, examples::table_row;

/// A number with up to `digits` digits, whatever the locale.
std::string rounded(double number, int digits) {
  char text[64];
  return {text, std::to_chars(text, text + sizeof text, number, std::chars_format::general, digits).ptr};
}

/// A power of 1000, or a unit of time.
struct unit {
  double scale;
  const char *name, *sign;
};
unit power_of(double largest) {
  for (const unit each : {unit{1e18, "10\u00b9\u2078", "E"}, unit{1e15, "10\u00b9\u2075", "P"},
                          unit{1e12, "10\u00b9\u00b2", "T"}, unit{1e9, "10\u2079", "G"}, unit{1e6, "10\u2076", "M"}})
    if (largest >= each.scale) return each;
  return largest >= 1e3 ? unit{1e3, "10\u00b3", "k"} : unit{1, "", ""};
}
unit time_unit(double longest) {
  if (longest > 7200) return {3600, "hours", "h"};
  return longest > 120 ? unit{60, "minutes", "min"} : unit{1, "seconds", "s"};
}
/// "2.51 M"
std::string short_number(double number) {
  const unit power = power_of(number);
  return rounded(number / power.scale, 3) + ' ' + power.sign;
}

/// The budget of a run.
std::string budget(const settings& own) {
  return own.timed() ? rounded(own.seconds, 6) + " seconds" : short_number(own.flops) + "FLOPs";
}

std::string with_deviation(const statistics& own, int digits) {
  const std::string text = fixed(own.mean, digits);
  return own.count > 1 ? text + " &plusmn; " + fixed(own.deviation, digits) : text;
}
std::string difference(const statistics& own) {
  std::string text = std::signbit(own.mean) ? "" : "+";
  text += with_deviation(own, 4);
  return text;
}

std::string swatch(const summary& each) { return examples::swatch(each.index, each.what->name); }

std::string results(const settings& own, const std::vector<summary>& all) {
  const configuration& baseline = find_comparison(own.table).baseline();
  const auto found = std::ranges::find(all, &baseline, &summary::what);
  const double flops = found == all.end() ? 0 : found->flops_per_token;
  std::string text = "<h2>Results</h2>\n<div class=\"wide\"><table>\n" +
                     table_row("th", {"configuration", "bits per byte", "difference to " + baseline.name,
                                      "training FLOPs per token", "of " + baseline.name, "tokens per second",
                                      "peak memory, MB", "parameters", "of them for losses alone", "runs"});
  for (const summary& each : all)
    text += table_row(
        "td",
        {swatch(each), with_deviation(each.bits_per_byte, 4),
         each.what == &baseline || each.difference.count == 0 ? std::string("&ndash;") : difference(each.difference),
         short_number(each.flops_per_token),
         flops == 0 ? std::string("&ndash;") : fixed(100 * each.flops_per_token / flops, 0) + '%',
         with_deviation(each.tokens_per_second, 0), fixed(each.peak_bytes / 1e6, 0),
         short_number(static_cast<double>(each.what->parameters)),
         each.what->parameters_of_losses == 0 ? std::string("&ndash;")
                                              : short_number(static_cast<double>(each.what->parameters_of_losses)),
         std::to_string(each.runs.size())});
  return text +
         strata::to_text(
             "</table></div>\n<p>Mean &plusmn; standard deviation over runs that differ in their seed alone: first "
             "weights and pieces of text. Less is better. The difference to ",
             baseline.name,
             " is the mean and the standard deviation of the differences between runs of the same seed, which see the "
             "same pieces of text in the same order, as far as both come; its standard error is the deviation divided "
             "by the root of the number of pairs. With one pair there is no deviation, and with few it is itself "
             "uncertain. Parameters for losses alone are those of the heads of auxiliary losses, which generation "
             "does not need.</p>\n");
}

using position = std::function<double(const summary&, const curve_point&)>;

std::string drawn(plot own, const unit& shown, const std::string& over) {
  own.x_scale = shown.scale;
  own.x_unit = *shown.name == 0 ? over : std::string(shown.name);
  own.x_label = *shown.name == 0 ? over : over + ", " + shown.name;
  return strata::to_text("<h3>", own.title, "</h3>\n", svg(own));
}

std::string curves(const std::vector<summary>& all, const char* over, const position& x, unit (*unit_of)(double)) {
  plot own{.title = std::string("Validation over ") + over, .y_label = "bits per byte"};
  double largest = 0;
  for (const summary& each : all) {
    curve own_curve{.name = each.what->name, .colour = each.index};
    for (const result& run : each.runs) {
      line points;
      for (const curve_point& point : run.curve) points.emplace_back(x(each, point), point.bits_per_byte);
      if (!points.empty()) largest = std::max(largest, points.back().first);
      own_curve.lines.push_back(points);
    }
    own.curves.push_back(own_curve);
  }
  return drawn(own, unit_of(largest), over);
}

/// Every run as a point.
std::string costs(const std::vector<summary>& all) {
  plot own{.title = "What a token costs in training, and the result", .y_label = "bits per byte"};
  for (const summary& each : all)
    for (const result& run : each.runs)
      own.curves.push_back({each.what->name, each.index, {{{each.flops_per_token, run.bits_per_byte}}}});
  return drawn(own, power_of(all.front().flops_per_token), "FLOPs per token");
}

std::string all_curves(const settings& own, const std::vector<summary>& all) {
  std::string text = "<h2>Pictures</h2>\n<p class=\"legend\">";
  for (const summary& each : all) text += swatch(each) + " &emsp; ";
  text += "</p>\n" + costs(all);
  text += curves(
      all, "training time", [](const summary&, const curve_point& point) { return point.seconds; }, time_unit);
  text += curves(
      all, "tokens", [&](const summary&, const curve_point& point) { return tokens_of(own, point.step); }, power_of);
  text += curves(
      all, "training FLOPs",
      [&](const summary& each, const curve_point& point) { return tokens_of(own, point.step) * each.flops_per_token; },
      power_of);
  const std::string windows = own.evaluate_windows == 0 ? "all" : "the same " + std::to_string(own.evaluate_windows);
  return text + strata::to_text("<p>Bits per byte on ", windows,
                                " validation windows. Thick: the mean of all seeds, where they have equally many "
                                "points; thin: each seed. The scale "
                                "leaves out the first fifth of the curves.</p>\n");
}

/// The model as C++ to paste, and its losses with their weights.
std::string model_text(const configuration& own) {
  std::string text = strata::to_cpp(own.model.at("description")) + "// losses:";
  for (const auto& [name, weight] : own.model.at("losses").items()) text += " " + name + " " + weight.dump();
  return text;
}

std::string descriptions(const std::vector<summary>& all) {
  std::string text = "<h2>Configurations</h2>\n<div class=\"wide\"><table class=\"words\">\n";
  for (const summary& each : all)
    text += table_row(
        "td", {swatch(each), escaped(each.what->description), "<pre>" + escaped(model_text(*each.what)) + "</pre>"});
  return text + "</table></div>\n";
}

std::string samples(const settings& own, const std::vector<summary>& all) {
  std::string text = "<h2>Samples</h2>\n<p>The text that the run of the first seed generates after " +
                     escaped(nlohmann::json(own.prompt).dump()) +
                     ", at temperature 0.8, of the likeliest bytes, and with the same random numbers. Bytes that are "
                     "no text are shown as "
                     "signs.</p>\n";
  for (const summary& each : all) {
    const auto& sample = each.runs.front().sample;
    text += strata::to_text("<h3>", swatch(each), "</h3>\n<pre>\n",
                            readable({reinterpret_cast<const char*>(sample.data()), sample.size()}), "</pre>\n");
  }
  return text;
}

std::string all_runs(const settings& own, const std::vector<summary>& all) {
  std::string text = "<h2>Every run</h2>\n<div class=\"wide\"><table>\n" +
                     table_row("th", {"configuration", "seed", "bits per byte", "steps", "tokens", "training FLOPs",
                                      "training time, s", "peak memory, MB"});
  for (const summary& each : all)
    for (const result& run : each.runs) {
      const double tokens = tokens_of(own, run.steps);
      text +=
          table_row("td", {swatch(each), std::to_string(run.seed), fixed(run.bits_per_byte, 4),
                           std::to_string(run.steps), short_number(tokens), short_number(tokens * each.flops_per_token),
                           fixed(run.seconds, 1), fixed(run.peak_bytes / 1e6, 0)});
    }
  return text + "</table></div>\n";
}

std::string method(const settings& own) {
  const auto& training = own.training;
  std::string text = strata::to_text(
      "<h2>How it was measured</h2>\n<ul>\n<li>Every run is a process of its own, ", own.jobs, " at a time, with ",
      own.threads, own.threads == 1 ? " thread" : " threads", " each", own.pin ? " on processors of their own" : "",
      ": ", escaped(own.processor), ".</li>\n<li>The budget of a run is ", budget(own),
      own.timed() ? " of training: the steps alone, not evaluations and checkpoints. How many steps fit is "
                    "estimated from their speed."
                  : " of training.",
      " The learning rate rises for ", training.schedule.warmup,
      " steps, the same for all, and falls along a cosine over the others.",
      "</li>\n<li>FLOPs are those of matrix products and attention, two for a multiplication and an addition; backward "
      "counts as twice forward; the heads of the losses are included.</li>\n<li>The text has ",
      own.text_bytes, " bytes. Its last ", rounded(100 * own.validation_fraction, 6),
      "% are never trained on. The tables give the bits per byte on all of that: consecutive windows of ",
      training.length,
      " bytes, in which each byte is predicted once, from those before it in its window; an incomplete "
      "last window is left out.</li>\n<li>A step is ",
      training.batch * training.accumulation, " pieces of ", training.length,
      " bytes from random positions.</li>\n"
      "<li>Tokens per second are tokens of training by seconds of training. Peak memory is the largest resident memory "
      "of the process when training ends, its text and the writing of checkpoints included; of several runs the "
      "largest.</li>\n</ul>\n<details>"
      "<summary>All settings</summary>\n<table class=\"words\">\n");
  const nlohmann::json settings_of_all = to_json(own);
  for (const auto& [name, value] : settings_of_all.items())
    text += table_row("td", {escaped(name), escaped(value.dump())});
  return text + "</table></details>\n";
}

}  // namespace

void write_report(const settings& own, const std::vector<summary>& all, std::size_t planned, const fs::path& path) {
  std::size_t done = 0;
  for (const summary& each : all) done += each.runs.size();
  const comparison& among = find_comparison(own.table);
  std::string text =
      examples::page_head(among.name, among.configurations.size()) +
      strata::to_text("<h1>", escaped(own.table), ": ", escaped(among.description), "</h1>\n<p>", done, " of ", planned,
                      " runs are done. Every run has ", budget(own), " of training and the same text.</p>\n");
  if (!all.empty())
    text += results(own, all) + all_curves(own, all) + descriptions(all) + samples(own, all) + all_runs(own, all);
  text += method(own) + "</body>\n</html>\n";
  strata::write_file_atomically(path, [&](auto& output) { output.write(text); });
}

}  // namespace experiments
