// Curves as SVG, to stand inside an HTML page that defines the colours --curve-0, --curve-1 and so on,
// the patterns of dashes --dash-0 and the insides of points --fill-0 and so on.
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

/// `&`, `<`, `>` and `"` as HTML and SVG want them.
std::string escaped(std::string_view text);
/// The mean of lines that have equally many points; empty where they have not.
line mean_line(const std::vector<line>& lines);
std::string svg(const plot& own);

}  // namespace experiments
