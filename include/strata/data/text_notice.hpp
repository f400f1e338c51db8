// What a file is, if it does not look like plain text: one sentence, with what to do.
// Source: the marks of RFC 1952 (gzip), the xz and zstd file formats, bzip2, and the Unicode Standard, 23.8 (byte order
// marks).
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <strata/core/error.hpp>
#include <strata/data/token_file.hpp>
#include <strata/io/file.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

inline constexpr std::size_t noticed_bytes = std::size_t{1} << 16;

/// Whether every second byte is 0 in nearly all pairs: UTF-16 of a text in Latin letters.
inline bool alternates_with_zeros(std::string_view start, std::size_t zero) {
  std::size_t zeros = 0, pairs = start.size() / 2;
  for (std::size_t n = zero; n < 2 * pairs; n += 2) zeros += start[n] == 0;
  std::size_t others = 0;
  for (std::size_t n = 1 - zero; n < 2 * pairs; n += 2) others += start[n] == 0;
  return pairs >= 4 && 10 * zeros > 9 * pairs && 10 * others < pairs;
}

}  // namespace detail

/// What was noticed at the start of a file that is read as bytes. Nothing is said of plain text.
inline std::optional<std::string> notice_of(const file_reader& file) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(std::min<std::uint64_t>(file.size(), detail::noticed_bytes)));
  file.read(0, bytes);
  const std::string_view start(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto says = [&](const auto&... parts) { return std::optional(to_text(file.name(), ": ", parts...)); };

  struct archive {
    std::string_view mark, name, program;
  };
  for (const archive& each : {archive{"\x1f\x8b", "gzip", "gzip"}, archive{{"\xfd\x37zXZ\0", 6}, "xz", "xz"},
                              archive{"\x28\xb5\x2f\xfd", "zstd", "zstd"}, archive{"BZh", "bzip2", "bzip2"}})
    if (start.starts_with(each.mark))
      return says("is compressed by ", each.name, " and is read as these bytes; to learn its content: ", each.program,
                  " -dc FILE | train_text --text -");
  if (const llm_c_header::kind* header = llm_c_header::at_start_of(file))
    return says("holds ", name_of(header->format), " tokens with the header of llm.c, and is read as bytes; --tokens ",
                name_of(header->format), " reads them as tokens");
  const bool has_zeros = std::ranges::find(start, '\0') != start.end();
  if (has_zeros && file.name().find(".bin\"") != std::string::npos)
    return says(
        "has NUL bytes, so it is no text; it is read as bytes; if they are tokens, --tokens uint16 or uint32 "
        "reads them so");
  if (start.starts_with("\xff\xfe") || start.starts_with("\xfe\xff") || detail::alternates_with_zeros(start, 1) ||
      detail::alternates_with_zeros(start, 0))
    return says("looks like UTF-16 and is read as these bytes; to learn its letters: iconv -f UTF-16 -t UTF-8 FILE");
  if (has_zeros) return says("has NUL bytes, so it is no text; it is read as bytes");
  if (start.starts_with("\xef\xbb\xbf"))
    return says(
        "begins with a byte order mark, which is read as three bytes; to remove it: sed -i '1s/^\\xef\\xbb\\xbf//'");
  if (start.find("\r\n") != std::string_view::npos)
    return says("has lines that end with CR LF, and both are read; to keep LF alone: tr -d '\\r'");
  return std::nullopt;
}

}  // namespace strata
