#include "run_report.hpp"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <span>

#include <strata/core/error.hpp>
#include <strata/io/file.hpp>

#include "console.hpp"
#include "plot.hpp"
#include "run_files.hpp"

namespace examples {

namespace {

/// A curve has at most so many points: the means of neighbours.
constexpr std::size_t most_points = 300, most_samples = 8;

struct run_metrics {
  std::map<std::string, line> by_name;  // over steps
  std::vector<std::pair<std::int64_t, std::string>> samples;
  std::int64_t last_step = 0;
};

run_metrics read_metrics(const std::filesystem::path& path) {
  run_metrics all;
  for_each_metric(path, [&](const nlohmann::json& entry, const std::string&) {
    const auto step = entry["step"].get<std::int64_t>();
    all.last_step = std::max(all.last_step, step);
    for (const auto& [name, value] : entry.items()) {
      if (value.is_number() && name != "step")
        all.by_name[name].emplace_back(static_cast<double>(step), value.get<double>());
      if (name == "sample" && value.is_string()) all.samples.emplace_back(step, value.get<std::string>());
    }
  });
  return all;
}

line thinned(const line& points) {
  const std::size_t each = (points.size() + most_points - 1) / most_points;
  if (each <= 1) return points;
  line few;
  for (std::size_t first = 0; first < points.size(); first += each) {
    const std::span<const line::value_type> part(points.data() + first, std::min(each, points.size() - first));
    double x = 0, y = 0;
    for (const auto& [own_x, own_y] : part) x += own_x, y += own_y;
    few.emplace_back(x / static_cast<double>(part.size()), y / static_cast<double>(part.size()));
  }
  return few;
}

}  // namespace

void write_run_report(const std::filesystem::path& page, const run_facts& facts, const std::filesystem::path& metrics) {
  const run_metrics all = read_metrics(metrics);
  const auto line_of = [&](const std::string& name) {
    const auto found = all.by_name.find(name);
    return found == all.by_name.end() ? line() : thinned(found->second);
  };
  const auto curves_of = [&](const std::vector<std::pair<const char*, const char*>>& names) {
    std::vector<curve> curves;
    for (const auto& [name, title] : names)
      if (line points = line_of(name); !points.empty())
        curves.push_back({.name = title,
                          .colour = static_cast<int>(curves.size()),
                          .lines = {std::move(points)},
                          .has_points = std::string_view(name).starts_with("validation")});
    return curves;
  };
  std::string text = page_head(facts.title, 4) + "<h1>" + escaped(facts.title) + "</h1>\n";
  text += strata::to_text("<p>", all.last_step, " steps. The page is written again as the run goes on.</p>\n");
  const auto add_plot = [&](const char* title, const char* label, const char* unit, const auto& names) {
    const std::vector<curve> curves = curves_of(names);
    if (curves.empty()) return;
    text += strata::to_text("<h2>", escaped(title), "</h2>\n<p>");
    for (const curve& each : curves) text += swatch(each.colour, each.name) + " ";
    text += "</p>\n" + svg({.title = title,
                            .x_label = "step",
                            .x_unit = "steps",
                            .y_label = label,
                            .y_unit = unit,
                            .curves = curves,
                            .is_loss = std::string_view(title).starts_with("Loss")});
  };
  using names = std::vector<std::pair<const char*, const char*>>;
  add_plot("Loss in bits per byte", "bits per byte", "bits per byte",
           names{{"bits_per_byte", "training"},
                 {"validation_bits_per_byte", "validation"},
                 {"validation_bits_per_byte_of_average", "validation of the average"}});
  // Of tokens whose text is not known.
  add_plot("Loss in bits per token", "bits per token", "bits per token",
           names{{"bits_per_token", "training"},
                 {"validation_bits_per_token", "validation"},
                 {"validation_bits_per_token_of_average", "validation of the average"}});
  add_plot("Learning rate", "learning rate", "", names{{"learning_rate", "learning rate"}});
  add_plot("Norm of the gradient", "norm", "", names{{"gradient_norm", "before clipping"}});
  add_plot("Speed in tokens per second", "tokens per second", "tokens per second",
           names{{"tokens_per_second", "since the start"}});
  if (!all.samples.empty()) text += "<h2>Samples</h2>\n";
  for (std::size_t n = all.samples.size() - std::min(most_samples, all.samples.size()); n < all.samples.size(); ++n)
    text += strata::to_text("<h3>after step ", all.samples[n].first, "</h3>\n<pre>", readable(all.samples[n].second),
                            "</pre>\n");
  text += "<h2>Options</h2>\n<div class=\"wide\"><table class=\"words\">\n";
  for (const auto& [name, value] : facts.rows) text += table_row("td", {escaped(name), escaped(value)});
  text += "</table></div>\n</body>\n</html>\n";
  strata::write_file_atomically(page, [&](auto& output) { output.write(std::as_bytes(std::span(text))); });
}

}  // namespace examples
