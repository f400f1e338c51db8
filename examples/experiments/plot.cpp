#include "plot.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <strata/core/error.hpp>

#include "../console.hpp"

namespace experiments {

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
  return examples::fixed(number, std::max(0, static_cast<int>(std::ceil(-std::log10(step) - 1e-9))));
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

/// Without the steep first fifth of each curve: it would squeeze the differences at the end into a few pixels.
range y_range(const plot& own) {
  range y;
  for (const curve& each : own.curves)
    for (const line& points : each.lines)
      for (std::size_t n = points.size() / 5; n < points.size(); ++n) y.include(points[n].second);
  const double margin = std::max(1e-3, 0.05 * (y.high - y.low));
  return {y.low - margin, y.high + margin};
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
    for (const auto& [x, y] : mean)
      text += strata::to_text("<circle r=\"3\" cx=\"", frame.at_x(x), "\" cy=\"", frame.at_y(y), "\"><title>",
                              escaped(each.name), ": ", shown(y, 1e-3), " bits per byte at ",
                              shown(x / own.x_scale, x_step / own.x_scale / 10), ' ', escaped(own.x_unit),
                              "</title></circle>\n");
    text += "</g>\n";
  }
  return text + "</svg>\n</svg>\n";
}

}  // namespace experiments
