// Where the positions of a level begin: after every stride, where a rule of the last tokens says so, or where the model
// decides.
// Source: SpaceByte, arXiv 2404.14408 (word starts); H-Net, arXiv 2507.07955 (learned).
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string_view>

#include <strata/core/view.hpp>

namespace strata::inline STRATA_ABI {

/// What decides where positions begin.
enum class boundary_kind { stride, rule, learned };

/// A rule is a constant: the description of a model points to its function, and files hold its name. A position begins
/// with the first token of a text, whatever the rule says.
struct boundary_rule {
  std::string_view name;  ///< of the constant in C++, as in "mine::sentences"
  /// Whether a position begins at the last of these tokens, the newest of a text. There are at most `reach` of them, and
  /// fewer at the start of a text.
  bool (*begins)(std::span<const token> last);
  int reach = 1;
  boundary_kind kind = boundary_kind::rule;  ///< the function is used only by a rule
  constexpr bool follows_text() const { return kind != boundary_kind::stride; }
  constexpr bool operator==(const boundary_rule& other) const { return name == other.name; }
};
inline constexpr int longest_reach = 1024;

/// Letters, digits and all bytes beyond ASCII are part of words.
constexpr bool in_word(token byte) {
  return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') || byte >= 0x80;
}

namespace boundaries {

/// A position begins after every `stride` tokens.
inline constexpr boundary_rule every_stride{"every_stride", nullptr, 1, boundary_kind::stride};
/// At the first byte after a word: the position sees the whole word. This and `lines` are rules of bytes.
inline constexpr boundary_rule word_starts{
    "word_starts",
    [](std::span<const token> last) { return last.size() == 2 && !in_word(last[1]) && in_word(last[0]); }, 2};
/// At the first byte of a line.
inline constexpr boundary_rule lines{
    "lines", [](std::span<const token> last) { return last.size() == 2 && last[0] == '\n'; }, 2};

/// Where the model finds that a row differs from the one before it: H-Net, arXiv 2507.07955. Training needs the loss
/// `boundary_ratio_loss`, or all rows may become positions.
inline constexpr boundary_rule learned{"learned", nullptr, 1, boundary_kind::learned};

inline constexpr std::array all{every_stride, word_starts, lines, learned};

}  // namespace boundaries

}  // namespace strata
