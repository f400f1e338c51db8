// Curves as SVG for an HTML page. The page defines the colours --curve-0, --curve-1 and so on, the dashes --dash-0 and
// so on, and the fill of points --fill-0 and so on.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace experiments {

/// Points (x, y), in the order in which they are joined.
using line = std::vector<std::pair<double, double>>;

/// One colour: thin lines, and their mean.
struct curve {
  std::string name;
  int colour = 0;
  std::vector<line> lines = {};
};

struct plot {
  std::string title, x_label = {}, x_unit = {}, y_label = {};
  double x_scale = 1;  ///< values of x are divided by this before they are shown
  std::vector<curve> curves = {};
};

/// Escapes `&`, `<`, `>` and `"` for HTML and SVG.
std::string escaped(std::string_view text);
/// The mean of lines with equal numbers of points, else empty.
line mean_line(const std::vector<line>& lines);
std::string svg(const plot& own);

}  // namespace experiments
