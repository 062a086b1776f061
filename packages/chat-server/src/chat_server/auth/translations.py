"""What the login pages say, in each language."""

from __future__ import annotations

from collections.abc import Mapping

ENGLISH: Mapping[str, str] = {
    "title": "Log in on another screen?",
    "device": "Screen",
    "unnamed": "unnamed",
    "address": "Its address",
    "unknown": "unknown",
    "age": "Asked",
    "seconds": "{n} seconds ago",
    "here": "This site",
    "beware": "Confirm only if you have just opened this code yourself, on a screen in front of you. "
    "If somebody sent you this link or picture, refuse: confirming would let them into your account.",
    "confirm": "Log in as {name}",
    "forget": "I am somebody else",
    "new": "New here",
    "name": "Name",
    "optional": "Password (may stay empty, 8 characters or more)",
    "keepsake": "Without a password only this phone can log you in again.",
    "invite": "Invite code",
    "create": "Join and log in there",
    "known": "I have a password",
    "password": "Password",
    "enter": "Log in there",
    "refuse": "No, refuse",
    "closed": "New accounts cannot be made here.",
    "invited": "Nobody here logs in this way yet, and a new account needs an invite. "
    "If you have one, make your account with it first. Then add this way to log in to it.",
    "gone": "This code is no longer good",
    "gone.text": "It was used, has run out, or the screen is gone. Show a new one and scan again.",
    "done": "Logged in",
    "done.text": "You can go on at the other screen and close this page.",
    "refused": "Refused",
    "refused.text": "The other screen was not let in.",
    "stale": "Please look again and press once more: this page was open too long.",
    "foreign": "This was sent by a page of another site, so it was not done. If it was you, press once more here.",
    "form": "The form could not be read.",
    "name.bad": "The name needs 1 to 64 characters.",
    "name.characters": "Invisible characters, line breaks and controls may not stand in a name.",
    "name.mixed": "Letters of different scripts that look alike may not be mixed in one word.",
    "name.reserved": "This name is reserved for who runs this server: choose another.",
    "password.bad": "A password needs 8 to 256 characters.",
    "taken": "Somebody else logs in by this name: choose another, or leave the password empty.",
    "wrong": "Name or password is wrong.",
    "invite.bad": "This invite code is not good.",
    "slow": "Too many tries. Wait {n} seconds.",
    "banned": "This account is banned.",
    "go": "Go on with {name}",
    "going": "One moment",
    "again": "Start again",
    "again.text": "This login is over, or was begun in another browser. Show a new code and open it here.",
    "platform": "The other site does not answer. Show a new code and try again in a minute.",
    "unproven": "The other site did not say who you are. Show a new code and try again.",
    "devices": "You are logged in on other devices, and only so many may be in at a time. "
    "Begin again on the new screen and choose which of them to log out.",
    "failed": "That did not work. Try again.",
}

CHINESE: Mapping[str, str] = {
    "title": "在另一屏幕上登录？",
    "device": "屏幕",
    "unnamed": "未命名",
    "address": "它的地址",
    "unknown": "未知",
    "age": "请求时间",
    "seconds": "{n} 秒前",
    "here": "本站",
    "beware": "只有当您自己刚刚在面前的屏幕上打开此二维码时，才可确认。"
    "如果是别人把链接或图片发给您的，请拒绝：一旦确认，对方就能进入您的账号。",
    "confirm": "以 {name} 登录",
    "forget": "我是别人",
    "new": "新用户",
    "name": "名字",
    "optional": "密码（可留空，至少 8 个字符）",
    "keepsake": "如不设密码，以后只有这部手机能让您登录。",
    "invite": "邀请码",
    "create": "加入并登录",
    "known": "我有密码",
    "password": "密码",
    "enter": "登录",
    "refuse": "拒绝",
    "closed": "本站不开放注册。",
    "invited": "此登录方式尚未关联任何账号，注册新账号需要邀请码。"
    "如果您有邀请码，请先用它注册账号，再为该账号添加此登录方式。",
    "gone": "此二维码已失效",
    "gone.text": "它已被使用、已过期，或者等待的屏幕已离开。请刷新二维码后重新扫描。",
    "done": "已登录",
    "done.text": "请在另一屏幕上继续，此页可以关闭。",
    "refused": "已拒绝",
    "refused.text": "另一屏幕未能登录。",
    "stale": "此页打开太久，请核对后再按一次。",
    "foreign": "此请求来自其他网站的页面，因此未执行。如果是您本人操作，请在此页再按一次。",
    "form": "无法读取表单。",
    "name.bad": "名字需要 1 到 64 个字符。",
    "name.characters": "名字中不能有不可见字符、换行或控制字符。",
    "name.mixed": "同一个词里不能混用外形相近的不同文字。",
    "name.reserved": "此名字为本站运营者保留：请换一个。",
    "password.bad": "密码需要 8 到 256 个字符。",
    "taken": "此名字已有人用来登录：请换一个，或将密码留空。",
    "wrong": "名字或密码不正确。",
    "invite.bad": "邀请码无效。",
    "slow": "尝试次数过多，请等待 {n} 秒。",
    "banned": "此账号已被封禁。",
    "go": "通过 {name} 继续",
    "going": "请稍候",
    "again": "请重新开始",
    "again.text": "此登录已结束，或是在另一浏览器中开始的。请刷新二维码，并在此处打开。",
    "platform": "对方网站没有响应。请刷新二维码，稍后再试。",
    "unproven": "对方网站未能确认您的身份。请刷新二维码后重试。",
    "devices": "您已在其他设备上登录，且同时登录的设备数量有限。请在新屏幕上重新开始，并选择要退出的设备。",
    "failed": "未成功，请重试。",
}


def language(accepted: str) -> str:
    """``zh`` or ``en``, by the Accept-Language header: the one with the higher q, English where neither is named."""
    best, found = 0.0, "en"
    for part in accepted.split(","):
        tag, _, q = part.strip().partition(";q=")
        try:
            weight = float(q) if q else 1.0
        except ValueError:
            continue
        name = tag.strip().lower()[:2]
        if name in ("en", "zh") and weight > best:
            best, found = weight, name
    return found


def texts(name: str) -> Mapping[str, str]:
    """The texts of a language."""
    return CHINESE if name == "zh" else ENGLISH
