#include "plot.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include <strata/core/error.hpp>

#include "console.hpp"

namespace examples {

namespace {

constexpr double width = 720, height = 400, left = 64, right = 16, top = 16, bottom = 52;

struct range {
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();
  void include(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

/// 1, 2 or 5 times a power of ten, so that a range has about five of them.
double tick_step(double span) {
  const double raw = span / 5, power = std::pow(10, std::floor(std::log10(raw)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (raw <= factor * power) return factor * power;
  return 10 * power;
}

std::string shown(double number, double step) {
  return fixed(number, std::max(0, static_cast<int>(std::ceil(-std::log10(step) - 1e-9))));
}

/// Maps values to the picture.
struct axes {
  range x, y;
  double at_x(double value) const { return left + (value - x.low) / (x.high - x.low) * (width - left - right); }
  double at_y(double value) const { return top + (y.high - value) / (y.high - y.low) * (height - top - bottom); }
};

std::string polyline(const line& points, const axes& frame, const char* style) {
  std::string text = "<polyline class=\"" + std::string(style) + "\" points=\"";
  for (const auto& [x, y] : points) text += strata::to_text(frame.at_x(x), ',', frame.at_y(y), ' ');
  return text + "\"/>\n";
}

std::string label(double x, double y, const char* attributes, std::string_view text) {
  return strata::to_text("<text x=\"", x, "\" y=\"", y, "\" ", attributes, ">", escaped(text), "</text>\n");
}
std::string grid_line(double x1, double y1, double x2, double y2) {
  return strata::to_text("<line x1=\"", x1, "\" y1=\"", y1, "\" x2=\"", x2, "\" y2=\"", y2, "\"/>");
}

/// Of a loss, without the steep first fifth of each curve: it would squeeze the differences at the end into a few pixels.
range y_range(const plot& own) {
  range y;
  for (const curve& each : own.curves)
    for (const line& points : each.lines)
      for (std::size_t n = own.is_loss ? points.size() / 5 : 0; n < points.size(); ++n) y.include(points[n].second);
  const double least = own.is_loss ? 1e-3 : std::max(1e-12, 0.05 * std::abs(y.high));
  const double margin = y.high > y.low ? 0.05 * (y.high - y.low) : least;
  return {y.low - margin, y.high + margin};
}

/// Distinct hues, then the same hues with dashes and hollow points.
std::string colours(std::size_t count, const char* lightness) {
  constexpr std::array hues{215, 20, 150, 320, 45, 265, 185, 0};
  constexpr std::array dashes{"none", "7 3", "2 3"};
  std::string text;
  for (std::size_t n = 0; n < count; ++n)
    text += strata::to_text("--curve-", n, ":hsl(", hues[n % hues.size()], ' ', lightness, ");--dash-", n, ':',
                            dashes[n / hues.size() % dashes.size()], ";--fill-", n, ':',
                            n < hues.size() ? "currentColor" : "var(--paper)", ';');
  return text;
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string result;
  for (const char letter : text) switch (letter) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        result += letter;
    }
  return result;
}

std::string readable(std::string_view bytes) {
  constexpr auto replace = nlohmann::json::error_handler_t::replace;
  const auto text = nlohmann::json::parse(nlohmann::json(bytes).dump(-1, ' ', false, replace)).get<std::string>();
  std::string shown;
  for (const char letter : text) {
    const auto code = static_cast<unsigned char>(letter);
    // U+2400 and the following are pictures of the control characters.
    if ((code < 32 && letter != '\n' && letter != '\t') || code == 127)
      shown += std::string("\xe2\x90") + static_cast<char>(code == 127 ? 0xa1 : 0x80 + code);
    else
      shown += letter;
  }
  return escaped(shown);
}

std::string table_row(const char* cell, const std::vector<std::string>& texts) {
  std::string result = "<tr>";
  for (const std::string& text : texts) result += strata::to_text('<', cell, '>', text, "</", cell, '>');
  return result + "</tr>\n";
}

std::string page_head(std::string_view title, std::size_t count) {
  return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
         "<meta name=\"viewport\" content=\"width=device-width\">\n<title>" +
         escaped(title) +
         "</title>\n<style>\n"
         ":root{color-scheme:light dark;--ink:#222;--paper:#fff;--faint:#ddd;" +
         colours(count, "75% 38%") +
         "}\n@media(prefers-color-scheme:dark){:root{--ink:#ddd;--paper:#181818;--faint:#444;" +
         colours(count, "75% 66%") +
         "}}\n"
         "body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:var(--ink);"
         "background:var(--paper)}\n"
         "table{border-collapse:collapse;font-variant-numeric:tabular-nums}\n.wide{overflow-x:auto}\n"
         "th,td{padding:.25rem .5rem;border-bottom:1px solid var(--faint);text-align:right;vertical-align:top;"
         "white-space:nowrap}\n"
         "th{white-space:normal;vertical-align:bottom}\nth:first-child,td:first-child,.words "
         "td{text-align:left}\n.words td{white-space:normal}\n.words td:first-child{white-space:nowrap}\n"
         "body>svg{display:block;max-width:48rem;font-size:13px}\nsvg text{fill:var(--ink)}\nsvg "
         "line{stroke:var(--faint)}\n"
         "polyline{fill:none;stroke:currentColor;stroke-width:2}\npolyline.thin{stroke-width:1;opacity:.4}\n"
         "circle{fill:var(--fill);stroke:currentColor;stroke-dasharray:none}\n"
         // Letters of a plot shrink with it: on a phone they start larger, and the heading names what is shown.
         "@media(max-width:32rem){body>svg{font-size:18px}svg "
         "text[transform]{display:none}}\nh1{overflow-wrap:anywhere}\n"
         ".swatch{width:2em;height:.7em;vertical-align:baseline}\n"
         "pre{white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:isolate;border-left:3px solid var(--faint);"
         "padding-left:1rem}\n</style>\n</head>\n<body>\n";
}

std::string swatch(int colour, std::string_view name) {
  return strata::to_text("<svg class=\"swatch\" viewBox=\"0 0 28 10\" style=\"color:var(--curve-", colour,
                         ");stroke-dasharray:var(--dash-", colour, ");--fill:var(--fill-", colour,
                         ")\"><polyline points=\"0 5 28 5\"/><circle r=\"3\" cx=\"14\" cy=\"5\"/></svg> ",
                         escaped(name));
}

line mean_line(const std::vector<line>& lines) {
  if (lines.empty()) return {};
  line mean(lines[0].size());
  for (const line& each : lines) {
    if (each.size() != mean.size()) return {};
    for (std::size_t n = 0; n < mean.size(); ++n) {
      mean[n].first += each[n].first / static_cast<double>(lines.size());
      mean[n].second += each[n].second / static_cast<double>(lines.size());
    }
  }
  return mean;
}

std::string svg(const plot& own) {
  axes frame{{.low = 0}, y_range(own)};
  for (const curve& each : own.curves)
    for (const line& points : each.lines)
      for (const auto& [x, y] : points) frame.x.include(x);
  if (!(frame.x.high > 0)) return "<p>No curve has a point yet.</p>\n";
  const double x_end = width - right, y_end = height - bottom;

  std::string text = strata::to_text("<svg viewBox=\"0 0 ", width, ' ', height, "\" role=\"img\">\n<title>",
                                     escaped(own.title), "</title>\n");
  const double x_step = tick_step(frame.x.high / own.x_scale) * own.x_scale;
  const double y_step = tick_step(frame.y.high - frame.y.low);
  for (double tick = std::ceil(frame.y.low / y_step) * y_step; tick <= frame.y.high; tick += y_step) {
    const double y = frame.at_y(tick);
    text += grid_line(left, y, x_end, y) + label(left - 8, y + 4, "text-anchor=\"end\"", shown(tick, y_step));
  }
  for (double tick = 0; tick <= frame.x.high * (1 + 1e-9); tick += x_step) {
    const double x = frame.at_x(tick);
    text += grid_line(x, top, x, y_end) +
            label(x, y_end + 18, "text-anchor=\"middle\"", shown(tick / own.x_scale, x_step / own.x_scale));
  }
  text += label((left + x_end) / 2, height - 8, "text-anchor=\"middle\"", own.x_label) +
          label(-(top + y_end) / 2, 14, "text-anchor=\"middle\" transform=\"rotate(-90)\"", own.y_label);

  // An inner picture clips the curves.
  const std::string inside =
      strata::to_text(left - 4, "\" y=\"", top, "\" width=\"", x_end - left + 8, "\" height=\"", y_end - top,
                      "\" viewBox=\"", left - 4, ' ', top, ' ', x_end - left + 8, ' ', y_end - top);
  text += "<svg x=\"" + inside + "\">\n";
  for (const curve& each : own.curves) {
    text += strata::to_text("<g style=\"color:var(--curve-", each.colour, ");stroke-dasharray:var(--dash-", each.colour,
                            ");--fill:var(--fill-", each.colour, ")\"><title>", escaped(each.name), "</title>\n");
    const line mean = mean_line(each.lines);
    const bool thin = each.lines.size() > 1 && !mean.empty();
    for (const line& points : each.lines) text += polyline(points, frame, thin ? "thin" : "");
    if (thin) text += polyline(mean, frame, "");
    for (const auto& [x, y] : each.has_points ? mean : line())
      text += strata::to_text("<circle r=\"3\" cx=\"", frame.at_x(x), "\" cy=\"", frame.at_y(y), "\"><title>",
                              escaped(each.name), ": ", shown(y, 1e-3), ' ', escaped(own.y_unit), " at ",
                              shown(x / own.x_scale, x_step / own.x_scale / 10), ' ', escaped(own.x_unit),
                              "</title></circle>\n");
    text += "</g>\n";
  }
  return text + "</svg>\n</svg>\n";
}

}  // namespace examples
