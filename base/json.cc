#include "base/json.h"

#define SIMDJSON_EXCEPTIONS 0
#include <new>
#include <simdjson.h>

using namespace simdjson;

struct json {
	ondemand::parser parser;
	const struct json_calls *calls;
	void *context;
	bool stopped;
};

static bool
is_number(const char *p, size_t len)
{
	size_t i = len && p[0] == '-';
	size_t digits = i;
	while (i < len && p[i] >= '0' && p[i] <= '9')
		i++;
	if (i == digits || (p[digits] == '0' && i > digits + 1))
		return false;
	if (i < len && p[i] == '.') {
		digits = ++i;
		while (i < len && p[i] >= '0' && p[i] <= '9')
			i++;
		if (i == digits)
			return false;
	}
	if (i < len && (p[i] == 'e' || p[i] == 'E')) {
		i++;
		if (i < len && (p[i] == '+' || p[i] == '-'))
			i++;
		digits = i;
		while (i < len && p[i] >= '0' && p[i] <= '9')
			i++;
		if (i == digits)
			return false;
	}
	return i == len;
}

/* Tells what a call answered: false there stops. */
static bool
told(struct json *j, bool go_on)
{
	j->stopped |= !go_on;
	return go_on;
}

static bool
number(struct json *j, std::string_view token)
{
	while (!token.empty() && (token.back() == ' ' || token.back() == '\t' || token.back() == '\n' || token.back() == '\r'))
		token.remove_suffix(1);
	return is_number(token.data(), token.size()) && told(j, j->calls->number(j->context, token.data(), token.size()));
}

/* False: wrong JSON, or stopped. T is a value or the document itself. */
template <typename T>
static bool
walk(struct json *j, T &value, unsigned depth)
{
	const struct json_calls *calls = j->calls;
	ondemand::json_type type;
	if (depth > JSON_DEPTH_MAX || value.type().get(type))
		return false;
	switch (type) {
	case ondemand::json_type::array: {
		ondemand::array array;
		if (value.get_array().get(array) || !told(j, calls->array(j->context, true)))
			return false;
		for (auto element : array) {
			ondemand::value inner;
			if (element.get(inner) || !walk(j, inner, depth + 1))
				return false;
		}
		return told(j, calls->array(j->context, false));
	}
	case ondemand::json_type::object: {
		ondemand::object object;
		if (value.get_object().get(object) || !told(j, calls->object(j->context, true)))
			return false;
		for (auto element : object) {
			ondemand::field field;
			std::string_view key;
			if (std::move(element).get(field) || field.unescaped_key().get(key) || !told(j, calls->key(j->context, key.data(), key.size())))
				return false;
			ondemand::value inner = field.value();
			if (!walk(j, inner, depth + 1))
				return false;
		}
		return told(j, calls->object(j->context, false));
	}
	case ondemand::json_type::string: {
		std::string_view text;
		return !value.get_string().get(text) && told(j, calls->string(j->context, text.data(), text.size()));
	}
	case ondemand::json_type::boolean: {
		bool truth;
		return !value.get_bool().get(truth) && told(j, calls->boolean(j->context, truth));
	}
	case ondemand::json_type::null: {
		bool null;
		return !value.is_null().get(null) && null && told(j, calls->null(j->context));
	}
	case ondemand::json_type::number: {
		/* Not read as a number: its text is what is wanted; what iterates skips it. */
		std::string_view token;
		simdjson_result<std::string_view> raw = value.raw_json_token();
		return !std::move(raw).get(token) && number(j, token);
	}
	}
	return false;
}

enum json_result
json_walk(struct json *j, const char *text, size_t len, const struct json_calls *calls, void *context)
{
	static_assert(JSON_PADDING >= SIMDJSON_PADDING, "the parser reads behind the text");
	ondemand::document document;
	j->calls = calls;
	j->context = context;
	j->stopped = false;
	if (j->parser.iterate(text, len, len + JSON_PADDING).get(document))
		return JSON_SYNTAX;
	if (!walk(j, document, 0))
		return j->stopped ? JSON_STOPPED : JSON_SYNTAX;
	const char *behind;
	ondemand::json_type type;
	if (!document.type().get(type) && (type == ondemand::json_type::array || type == ondemand::json_type::object) &&
	    !document.current_location().get(behind))
		return JSON_SYNTAX;	/* more text */
	return JSON_OK;
}

struct json *
json_new(void)
{
	return new (std::nothrow) struct json();
}

void
json_free(struct json *j)
{
	delete j;
}
