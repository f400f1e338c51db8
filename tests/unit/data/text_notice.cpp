// What is said of a file that is no plain text.
#include <cstring>
#include <string>

#include <strata/data/text_notice.hpp>

#include "support/catch.hpp"
#include "support/messages.hpp"

namespace {

std::string notice(const std::string& content, const std::string& name = "\"some.txt\"") {
  strata::buffer<std::byte> bytes(static_cast<strata::index_type>(content.size()));
  if (!content.empty()) std::memcpy(bytes.data(), content.data(), content.size());
  return strata::notice_of(strata::file_reader(std::move(bytes), name)).value_or("");
}

std::string wide(const std::string& letters, bool low_first) {
  std::string text;
  for (const char letter : letters) text += low_first ? std::string{letter, '\0'} : std::string{'\0', letter};
  return text;
}

}  // namespace

TEST_CASE("plain text goes without a notice") {
  CHECK(notice("") == "");
  CHECK(notice("text\nof lines\n") == "");
  CHECK(notice("BZ") == "");
  CHECK(notice("na\xc3\xafve caf\xc3\xa9, \xff and \x80") == "");
}

TEST_CASE("what does not look like text is said, with what to do") {
  CHECK(missing_in(notice("\x1f\x8b\x08 and more"), {"\"some.txt\": is compressed by gzip", "gzip -dc FILE |"}) == "");
  CHECK(missing_in(notice(std::string("\xfd\x37zXZ\0..", 8)), {"compressed by xz", "xz -dc"}) == "");
  CHECK(missing_in(notice("\x28\xb5\x2f\xfd.."), {"compressed by zstd"}) == "");
  CHECK(missing_in(notice("BZh91AY"), {"compressed by bzip2"}) == "");
  CHECK(missing_in(notice("\xff\xfe" + wide("text", true)), {"looks like UTF-16", "iconv -f UTF-16"}) == "");
  CHECK(missing_in(notice(wide("letters alone", true)), {"looks like UTF-16"}) == "");
  CHECK(missing_in(notice(wide("letters alone", false)), {"looks like UTF-16"}) == "");
  CHECK(missing_in(notice(std::string("text\0more text", 14)), {"has NUL bytes, so it is no text"}) == "");
  CHECK(notice(std::string("text\0more text", 14)).find("--tokens") == std::string::npos);
  CHECK(missing_in(notice(std::string("\x07\0\x08\x01\x09\0", 6), "\"train.bin\""), {"--tokens uint16 or uint32"}) ==
        "");
  std::string header(1024 + 4, '\0');
  const std::int32_t mark = 20240520;
  std::memcpy(header.data(), &mark, 4);
  CHECK(missing_in(notice(header), {"holds uint16 tokens with the header of llm.c", "--tokens uint16"}) == "");
  CHECK(missing_in(notice("\xef\xbb\xbftext"), {"byte order mark"}) == "");
  CHECK(missing_in(notice("one\r\ntwo\r\n"), {"CR LF", "tr -d '\\r'"}) == "");
}
